//! The small pieces that every page is made of. Each is a template of its own, so its texts are escaped
//! there; [`askama::filters::HtmlSafe`] says only that the result is not escaped a second time. Nothing else
//! in this crate may be marked so.

use agentwright_api::Time;
use agentwright_domain::digest::Digest;
use askama::Template;
use askama::filters::HtmlSafe;

use crate::assets;
use crate::words;

/// The colour family of a status. Never alone: an icon and a word stand beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Calm,
    Busy,
    Wait,
    Good,
    Bad,
}

impl Tone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Busy => "busy",
            Self::Wait => "wait",
            Self::Good => "good",
            Self::Bad => "bad",
        }
    }
}

/// A picture of the sprite, decoration only.
#[derive(Clone, Copy, Debug, Template)]
#[template(
    ext = "html",
    source = r#"<svg class="icon{% if name == "spin" %} spin{% endif %}" aria-hidden="true"><use href="{{ assets::path("icons.svg") }}#{{ name }}"/></svg>"#
)]
pub(crate) struct Icon {
    name: &'static str,
}

impl HtmlSafe for Icon {}

/// The picture of that name.
pub(crate) fn icon(name: &'static str) -> Icon {
    Icon { name }
}

/// A status: colour, icon and word.
#[derive(Clone, Debug, Template)]
#[template(
    ext = "html",
    source = r#"<span class="chip {{ tone.class() }}">{{ icon }}{{ text }}</span>"#
)]
pub(crate) struct Chip {
    pub(crate) tone: Tone,
    pub(crate) icon: Icon,
    pub(crate) text: String,
}

impl HtmlSafe for Chip {}

impl Chip {
    pub(crate) fn new(tone: Tone, name: &'static str, text: impl Into<String>) -> Self {
        Self {
            tone,
            icon: icon(name),
            text: text.into(),
        }
    }

    /// The same with more words.
    pub(crate) fn saying(self, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..self
        }
    }
}

/// A moment, told from now; the exact one is in its title.
#[derive(Clone, Debug, Template)]
#[template(
    ext = "html",
    source = r#"<time datetime="{{ iso }}" title="{{ exact }}" data-ago="{{ ms }}">{{ relative }}</time>"#
)]
pub(crate) struct When {
    iso: String,
    exact: String,
    relative: String,
    ms: i64,
}

impl HtmlSafe for When {}

impl When {
    pub(crate) fn new(at: Time, now_ms: i64) -> Self {
        Self {
            iso: at.to_string(),
            exact: exact(at),
            relative: words::relative(at.as_ms(), now_ms),
            ms: at.as_ms(),
        }
    }
}

/// `2026-11-27 04:10:05 UTC`.
pub(crate) fn exact(at: Time) -> String {
    let iso = at.to_string();
    let (date, time) = iso.split_once('T').unwrap_or((&iso, ""));
    format!("{date} {} UTC", time.get(..8).unwrap_or(time))
}

/// The time of day of a line in a log: `04:10:05`.
pub(crate) fn clock(at: Time) -> String {
    let iso = at.to_string();
    let time = iso.split_once('T').map_or("", |(_, time)| time);
    time.get(..8).unwrap_or(time).to_owned()
}

/// A digest: its first digits, all of them on request.
#[derive(Clone, Debug, Template)]
#[template(
    ext = "html",
    source = r#"<code class="digest" title="{{ whole }}">{{ short }}</code>"#
)]
pub(crate) struct Name {
    pub(crate) whole: String,
    short: String,
}

impl HtmlSafe for Name {}

impl From<&Digest> for Name {
    fn from(digest: &Digest) -> Self {
        Self {
            whole: digest.as_str().to_owned(),
            short: digest.short().to_owned(),
        }
    }
}

/// The hidden fields that every form that changes something carries.
#[derive(Clone, Debug, Template)]
#[template(
    ext = "html",
    source = r#"<input type="hidden" name="_csrf" value="{{ csrf }}">"#
)]
pub(crate) struct Csrf {
    pub(crate) csrf: String,
}

impl HtmlSafe for Csrf {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_escapes_what_it_is_given() {
        let chip = Chip::new(Tone::Bad, "cross", "<script>alert(1)</script>").to_string();
        assert!(!chip.contains("<script>"), "{chip}");
        assert!(chip.contains("&#60;script&#62;"), "{chip}");
    }

    #[test]
    fn a_moment_says_how_long_ago_and_keeps_the_exact_time() {
        let when = When::new(Time::from_ms(1_795_298_400_123), 1_795_298_700_123).to_string();
        assert!(when.contains("5 min ago"), "{when}");
        assert!(when.contains("2026-11-21 22:00:00 UTC"), "{when}");
        assert_eq!(clock(Time::from_ms(1_795_298_400_123)), "22:00:00");
    }
}
