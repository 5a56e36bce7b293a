//! Names of tables: read, checked and quoted. Nothing that a person wrote is ever pasted into SQL.

use std::fmt;
use std::str::FromStr;

/// PostgreSQL cuts longer names.
const NAME_MAX_BYTES: usize = 63;

/// The name of a table, with its schema where one was said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableName {
    schema: Option<String>,
    name: String,
}

/// The two tables of a backlog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// `automation_ideas`, or what it is called there.
    pub ideas: TableName,
    /// `agent_test_results`, or what it is called there.
    pub results: TableName,
}

/// A text that cannot name a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not the name of a table: write NAME or SCHEMA.NAME as the database has it, without quotes, each of 1 to 63 bytes"
)]
pub struct NotAName {
    /// The text.
    pub text: String,
}

impl FromStr for TableName {
    type Err = NotAName;

    /// As the database has it, upper and lower case kept: `automation_ideas`, `public.automation_ideas`.
    fn from_str(text: &str) -> Result<Self, NotAName> {
        let wrong = || NotAName {
            text: text.chars().take(200).collect(),
        };
        let whole = |part: &str| {
            let fits = !part.is_empty() && part.len() <= NAME_MAX_BYTES;
            let plain = |c: char| !c.is_control() && !matches!(c, '"' | '\'' | '.' | ';');
            fits && part.chars().all(plain) && part.trim() == part
        };
        let (schema, name) = match text.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, text),
        };
        if !whole(name) || !schema.is_none_or(whole) {
            return Err(wrong());
        }
        Ok(Self {
            schema: schema.map(str::to_owned),
            name: name.to_owned(),
        })
    }
}

impl TableName {
    /// Without its schema.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As an identifier of SQL: every part in double quotes, with double quotes doubled.
    pub(crate) fn quoted(&self) -> String {
        let quote = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
        match &self.schema {
            Some(schema) => format!("{}.{}", quote(schema), quote(&self.name)),
            None => quote(&self.name),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_whatever_it_is() {
        for (text, quoted) in [
            ("automation_ideas", "\"automation_ideas\""),
            ("public.Ideas", "\"public\".\"Ideas\""),
            ("select", "\"select\""),
            ("ideen für später", "\"ideen für später\""),
        ] {
            let name: TableName = text.parse().unwrap();
            assert_eq!(name.quoted(), quoted);
            assert_eq!(name.to_string(), text);
        }
    }

    #[test]
    fn what_could_end_a_name_is_refused() {
        let long = "x".repeat(64);
        for text in [
            "",
            ".",
            "a.",
            ".a",
            "a.b.c",
            "ideas; DROP TABLE ideas",
            "ideas\" --",
            "a'b",
            " ideas",
            "a\0b",
            &long,
        ] {
            let error = text.parse::<TableName>().unwrap_err();
            assert_eq!(error.text, text);
        }
    }
}
