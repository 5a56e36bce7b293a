//! What went wrong, by what whoever called does next.

/// Why the database did not do what was asked. No text holds an address, a password or a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is not there, too busy, or went away in the middle: the same can be asked again later.
    #[error("the database is away: {0}")]
    Away(String),
    /// It does not let us in, or a right is missing: a person grants it.
    #[error("the database refuses: {0}")]
    Denied(String),
    /// Tables, columns or rights are not as they must be: a person changes them.
    #[error("{}", .0.join("; "))]
    Unfit(Vec<String>),
    /// A row or a table is locked by somebody else: the same can be asked again soon.
    #[error("somebody else holds a lock there")]
    Locked,
    /// A statement was refused: by a constraint, a trigger, or because it is wrong.
    #[error("the database refuses the statement: {0}")]
    Refused(String),
}

impl Fault {
    /// What a driver's error means.
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        let sqlx::Error::Database(database) = error else {
            return match error {
                sqlx::Error::Io(io) => Self::Away(io.to_string()),
                // Their texts are the driver's own.
                sqlx::Error::Tls(tls) => Self::Away(format!("no encrypted connection: {tls}")),
                sqlx::Error::ColumnDecode { index, .. } => {
                    Self::Refused(format!("column {index} holds something unexpected"))
                }
                other => Self::Away(other.to_string()),
            };
        };
        let code = database.code().unwrap_or_default().into_owned();
        // The message names tables, columns and constraints; rows would be in the detail, which is left out.
        let said = format!("{} ({code})", database.message());
        match code.as_str() {
            "55P03" => Self::Locked,
            // Of a database that takes nobody in for now.
            "55000" => Self::Away(said),
            "57014" => Self::Away(format!("it took too long: {said}")),
            "42501" => Self::Denied(said),
            "42P01" | "42703" | "3F000" => Self::Unfit(vec![said]),
            _ if code.starts_with("28") || code == "3D000" => Self::Denied(said),
            _ if ["08", "25", "40", "53", "57", "58"]
                .iter()
                .any(|class| code.starts_with(class)) =>
            {
                Self::Away(said)
            }
            _ => Self::Refused(said),
        }
    }

    /// Whether the same call may work later without anybody changing anything.
    pub fn passes(&self) -> bool {
        match self {
            Self::Away(_) | Self::Locked => true,
            Self::Denied(_) | Self::Unfit(_) | Self::Refused(_) => false,
        }
    }
}
