//! The files of the pages, under names that change with their content: kept by browsers for good.

use crate::error::ApiError;
use agentwright_pages::assets;
use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

/// A year: the name changes with the content.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

pub(super) async fn get(Path((hash, name)): Path<(String, String)>) -> Result<Response, ApiError> {
    let file = assets::get(&hash, &name).ok_or(ApiError::NoRoute)?;
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static(file.media_type),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static(FOR_GOOD)),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    Ok((headers, file.bytes.into_owned()).into_response())
}

/// Browsers ask for it whatever a page says.
pub(super) async fn icon() -> Result<Response, ApiError> {
    let path = assets::path("logo.svg");
    let hash = path.split('/').nth(1).unwrap_or_default().to_owned();
    get(Path((hash, "logo.svg".to_owned()))).await
}
