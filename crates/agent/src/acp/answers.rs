//! What we answer an agent: permissions by our policy, files of the workspace read and written by us.
//!
//! Start at [`Answers::to`].

use serde_json::{Value, json};

use crate::coder::CoderLimits;
use crate::files::WorkFiles;
use crate::paths;
use crate::permission::{self, Deed};
use crate::protected::Protected;

/// Bytes of a file that are given to the agent.
const MAX_READ_BYTES: u64 = 2 * 1024 * 1024;
/// "Method not found".
const NO_METHOD: i64 = -32601;
/// "Invalid params".
const BAD_PARAMS: i64 = -32602;

/// What is needed to answer.
pub(super) struct Answers<'a> {
    pub(super) files: &'a WorkFiles,
    pub(super) limits: &'a CoderLimits,
    pub(super) protected: &'a Protected,
}

impl Answers<'_> {
    /// The result, or the error object.
    pub(super) fn to(&self, method: &str, params: &Value) -> Result<Value, Value> {
        match method {
            "session/request_permission" => Ok(self.permission(params)),
            "fs/read_text_file" => self.read(params).map_err(|why| error(BAD_PARAMS, &why)),
            "fs/write_text_file" => self.write(params).map_err(|why| error(BAD_PARAMS, &why)),
            _ => Err(error(NO_METHOD, "this is not offered here")),
        }
    }

    fn permission(&self, params: &Value) -> Value {
        let call = &params["toolCall"];
        let wanted: &[&str] = if self.allows(call) {
            &["allow_once", "allow_always"]
        } else {
            &["reject_once", "reject_always"]
        };
        let options = params["options"].as_array();
        let chosen = wanted.iter().find_map(|kind| {
            let option = options?.iter().find(|option| option["kind"] == **kind)?;
            Some(option["optionId"].clone())
        });
        match chosen {
            Some(id) => json!({"outcome": {"outcome": "selected", "optionId": id}}),
            None => json!({"outcome": {"outcome": "cancelled"}}),
        }
    }

    /// Every path that the call names must be fine; the walls hold the rest.
    fn allows(&self, call: &Value) -> bool {
        let deed = match call["kind"].as_str() {
            Some("fetch" | "switch_mode") => return false,
            Some("read" | "search" | "think" | "execute") => Deed::Read,
            _ => Deed::Write,
        };
        let listed = |key: &str| {
            call[key]
                .as_array()
                .into_iter()
                .flatten()
                .map(|one| &one["path"])
        };
        let raw = ["file_path", "path", "filePath"]
            .iter()
            .map(|key| &call["rawInput"][*key]);
        let paths = listed("locations").chain(listed("content")).chain(raw);
        paths
            .filter_map(Value::as_str)
            .all(|path| permission::decide(deed, path, self.protected).is_ok())
    }

    fn read(&self, params: &Value) -> Result<Value, String> {
        let path = relative(params, Deed::Read, &Protected::default())?;
        let content = self
            .files
            .read(&path, MAX_READ_BYTES)
            .map_err(|e| format!("cannot read {}: {e}", paths::shown(&path)))?;
        if content.cut {
            return Err(format!("{} is too large", paths::shown(&path)));
        }
        let text = String::from_utf8(content.bytes)
            .map_err(|_| format!("{} is not text", paths::shown(&path)))?;
        let from = params["line"].as_u64().unwrap_or(1).saturating_sub(1);
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let most = params["limit"]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok());
        let lines = text
            .split_inclusive('\n')
            .skip(from)
            .take(most.unwrap_or(usize::MAX));
        Ok(json!({"content": lines.collect::<String>()}))
    }

    fn write(&self, params: &Value) -> Result<Value, String> {
        let path = relative(params, Deed::Write, self.protected)?;
        let path = paths::checked(&path, self.protected)?;
        let content = params["content"].as_str().ok_or("the content is missing")?;
        if content.len() as u64 > self.limits.file_bytes || content.contains('\0') {
            return Err(format!(
                "{} is not text or larger than {} bytes",
                paths::shown(&path),
                self.limits.file_bytes
            ));
        }
        self.files
            .write(&path, content.as_bytes())
            .map_err(|e| format!("cannot write {}: {e}", paths::shown(&path)))?;
        Ok(Value::Null)
    }
}

fn relative(params: &Value, deed: Deed, protected: &Protected) -> Result<String, String> {
    let path = params["path"].as_str().ok_or("the path is missing")?;
    let inside = permission::decide(deed, path, protected)?;
    inside
        .to_str()
        .map(str::to_owned)
        .ok_or_else(|| "the path is not text".to_owned())
}

fn error(code: i64, message: &str) -> Value {
    json!({"code": code, "message": message})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(call: &Value, kinds: &[&str]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let files = WorkFiles::open(dir.path()).unwrap();
        let (limits, protected) = (CoderLimits::default(), Protected::new(["spec.json"]));
        let answers = Answers {
            files: &files,
            limits: &limits,
            protected: &protected,
        };
        let options: Vec<Value> = kinds
            .iter()
            .map(|kind| json!({"optionId": format!("id-{kind}"), "kind": kind}))
            .collect();
        let answer = answers
            .to(
                "session/request_permission",
                &json!({"toolCall": call, "options": options}),
            )
            .unwrap();
        answer["outcome"]["optionId"]
            .as_str()
            .unwrap_or("cancelled")
            .to_owned()
    }

    #[test]
    fn permissions_follow_the_paths_of_the_call() {
        let all = ["allow_always", "allow_once", "reject_once"];
        for call in [
            json!({"kind": "edit", "locations": [{"path": "/app/main.py"}]}),
            json!({"kind": "execute", "rawInput": {"command": "ls /"}}),
            json!({"kind": "read", "rawInput": {"file_path": "/app/spec.json"}}),
        ] {
            assert_eq!(choose(&call, &all), "id-allow_once", "{call}");
        }
        for call in [
            json!({"kind": "edit", "locations": [{"path": "/etc/passwd"}]}),
            json!({"kind": "edit", "content": [{"type": "diff", "path": "/app/spec.json"}]}),
            json!({"kind": "delete", "locations": [{"path": "/app/main.py"}, {"path": "/app/../x"}]}),
            json!({"rawInput": {"path": "/app/spec.json"}}),
            json!({"kind": "fetch"}),
        ] {
            assert_eq!(choose(&call, &all), "id-reject_once", "{call}");
        }
        let odd = json!({"kind": "fetch"});
        assert_eq!(choose(&odd, &["allow_once"]), "cancelled");
    }
}
