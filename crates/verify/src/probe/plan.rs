//! A check without templates: rendered, its globs and expressions compiled, its numbers read.

use super::glob;
use super::matcher::Wanted;
use super::rows;
use crate::template::Scope;
use agentwright_domain::acceptance::Check;
use agentwright_domain::spec::HostPort;
use globset::{GlobMatcher, GlobSet};
use serde_json::Value;

/// What is looked at, ready to be asked.
#[derive(Clone, Debug)]
pub(crate) enum Plan {
    Files {
        folder: String,
        glob: GlobMatcher,
        want: FileWant,
    },
    Tree {
        folder: String,
        files: Vec<String>,
    },
    Archive {
        folder: String,
        glob: GlobMatcher,
        entries: Vec<(String, Wanted)>,
        count: Option<u64>,
    },
    SqliteRows {
        folder: String,
        glob: GlobMatcher,
        query: String,
        rows: Value,
    },
    PostgresRows {
        host: HostPort,
        database: String,
        query: String,
        rows: Value,
    },
    Http(Request),
    HttpSeen {
        host: HostPort,
        wanted: SeenWanted,
    },
    Tcp {
        port: u16,
    },
    Process {
        argument: String,
    },
    ExitCode,
    Unchanged {
        folder: String,
        except: GlobSet,
    },
}

/// What must be of files that match a glob.
#[derive(Clone, Debug)]
pub(crate) enum FileWant {
    Exist { count: Option<u64> },
    Absent,
    Content(Wanted),
    Size { min: Option<u64>, max: Option<u64> },
    Mode(u32),
}

/// Our own request to the service.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) port: u16,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) status: u16,
    pub(crate) content: Option<Wanted>,
}

/// Requests that a fixture host must have received.
#[derive(Clone, Debug)]
pub(crate) struct SeenWanted {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) count: Option<u32>,
    pub(crate) content: Option<Wanted>,
}

impl Plan {
    /// Renders a check. `port` is the service's, where there is one. The error is the spec's.
    pub(crate) fn render(check: &Check, scope: &Scope, port: Option<u16>) -> Result<Self, String> {
        match check {
            Check::FileExists { .. }
            | Check::FileAbsent { .. }
            | Check::FileContent { .. }
            | Check::FileSize { .. }
            | Check::FileMode { .. } => Self::render_file(check, scope),
            Check::Tree { .. } | Check::Archive { .. } | Check::Unchanged { .. } => {
                Self::render_folder(check, scope)
            }
            Check::SqliteRows {
                folder,
                path,
                query,
                rows,
            } => {
                let query = scope.text(query)?;
                super::sql::check(&query)?;
                Ok(Self::SqliteRows {
                    folder: folder.clone(),
                    glob: glob::one(&scope.path(path)?)?,
                    query,
                    rows: rows_of(rows, scope)?,
                })
            }
            Check::PostgresRows {
                host,
                database,
                query,
                rows,
            } => Ok(Self::PostgresRows {
                host: scope.host(host)?,
                database: scope.text(database)?,
                query: scope.text(query)?,
                rows: rows_of(rows, scope)?,
            }),
            Check::Http { .. } | Check::HttpSeen { .. } => Self::render_http(check, scope, port),
            Check::Tcp { port } => Ok(Self::Tcp { port: *port }),
            Check::Process { argument } => {
                let argument = scope.text(argument)?;
                if argument.is_empty() {
                    return Err("an empty argument is part of every argument".into());
                }
                Ok(Self::Process { argument })
            }
            Check::ExitCode {} => Ok(Self::ExitCode),
        }
    }

    fn render_folder(check: &Check, scope: &Scope) -> Result<Self, String> {
        match check {
            Check::Tree { folder, files } => Ok(Self::Tree {
                folder: folder.clone(),
                files: lines(&scope.text(files)?),
            }),
            Check::Archive {
                folder,
                path,
                entries,
                count,
            } => Ok(Self::Archive {
                folder: folder.clone(),
                glob: glob::one(&scope.path(path)?)?,
                entries: entries
                    .iter()
                    .map(|(path, content)| Ok((scope.path(path)?, Wanted::render(content, scope)?)))
                    .collect::<Result<_, String>>()?,
                count: number(count.as_ref(), scope)?,
            }),
            Check::Unchanged { folder, except } => {
                let except: Vec<String> = except
                    .iter()
                    .map(|path| scope.path(path))
                    .collect::<Result<_, _>>()?;
                Ok(Self::Unchanged {
                    folder: folder.clone(),
                    except: glob::set(&except)?,
                })
            }
            _ => Err("is no check of a folder".into()),
        }
    }

    fn render_http(check: &Check, scope: &Scope, port: Option<u16>) -> Result<Self, String> {
        let matcher = |content: &Option<_>| {
            content
                .as_ref()
                .map(|content| Wanted::render(content, scope))
                .transpose()
        };
        match check {
            Check::Http {
                method,
                path,
                body,
                status,
                content,
            } => Ok(Self::Http(Request {
                port: port.ok_or("only a service answers requests: kind must be \"service\"")?,
                method: method_of(method)?,
                path: request_path(&scope.text(path)?)?,
                headers: Vec::new(),
                body: scope.text(body)?,
                status: *status,
                content: matcher(content)?,
            })),
            Check::HttpSeen {
                host,
                method,
                path,
                count,
                content,
            } => Ok(Self::HttpSeen {
                host: scope.host(host)?,
                wanted: SeenWanted {
                    method: method_of(method)?,
                    path: request_path(&scope.text(path)?)?,
                    count: *count,
                    content: matcher(content)?,
                },
            }),
            _ => Err("is no check of HTTP".into()),
        }
    }

    fn render_file(check: &Check, scope: &Scope) -> Result<Self, String> {
        let (folder, path, want) = match check {
            Check::FileExists {
                folder,
                path,
                count,
            } => (
                folder,
                path,
                FileWant::Exist {
                    count: number(count.as_ref(), scope)?,
                },
            ),
            Check::FileAbsent { folder, path } => (folder, path, FileWant::Absent),
            Check::FileContent {
                folder,
                path,
                content,
            } => (
                folder,
                path,
                FileWant::Content(Wanted::render(content, scope)?),
            ),
            Check::FileSize {
                folder,
                path,
                min,
                max,
            } => {
                if min.is_none() && max.is_none() {
                    return Err("give min, max or both".into());
                }
                (
                    folder,
                    path,
                    FileWant::Size {
                        min: *min,
                        max: *max,
                    },
                )
            }
            Check::FileMode { folder, path, mode } => (folder, path, FileWant::Mode(octal(mode)?)),
            _ => return Err("is no check of files".into()),
        };
        Ok(Self::Files {
            folder: folder.clone(),
            glob: glob::one(&scope.path(path)?)?,
            want,
        })
    }
}

fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    lines.sort();
    lines
}

fn number(template: Option<&String>, scope: &Scope) -> Result<Option<u64>, String> {
    template.map(|template| scope.number(template)).transpose()
}

fn rows_of(template: &str, scope: &Scope) -> Result<Value, String> {
    let value = scope.json(template)?;
    rows::check_shape(&value)?;
    Ok(value)
}

/// Permission bits from octal digits.
pub(crate) fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| format!("mode {text:?} is not octal, such as 644"))
}

/// An upper-case HTTP method.
pub(crate) fn method_of(method: &str) -> Result<String, String> {
    let shaped = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
    if shaped {
        Ok(method.to_owned())
    } else {
        Err(format!(
            "method {method:?} is not in upper case, such as POST"
        ))
    }
}

/// A path with an optional query.
pub(crate) fn request_path(path: &str) -> Result<String, String> {
    let shaped = path.starts_with('/') && path.bytes().all(|b| b > b' ' && b != 0x7f);
    if shaped {
        Ok(path.to_owned())
    } else {
        Err(format!(
            "request path {path:?} must begin with / and hold no blanks"
        ))
    }
}
