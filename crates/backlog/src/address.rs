//! Where the database is: an address that may hold a password, and is shown without it.

use sqlx::postgres::PgConnectOptions;
use std::fmt;
use std::str::FromStr;

/// The address of a PostgreSQL database. Its `Debug` and `Display` have no password.
#[derive(Clone)]
pub struct Address {
    options: PgConnectOptions,
    shown: String,
}

impl Address {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err("does not begin with postgres://: only PostgreSQL databases are connected");
        }
        let options = PgConnectOptions::from_str(text)
            .map_err(|_| "is no address of a database: it must be like postgres://USER:PASSWORD@HOST:5432/DATABASE")?;
        if options.get_database().is_none_or(str::is_empty) {
            return Err("names no database: it must end with /DATABASE");
        }
        let options = options
            .application_name("agentwright")
            // Poolers that hand out connections by the transaction know no prepared statements.
            .statement_cache_capacity(0);
        let place = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let shown = format!("{} at {place}", options.get_database().unwrap_or_default());
        Ok(Self { options, shown })
    }

    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_user_and_password() {
        let address =
            Address::parse("postgres://ann:s3cret@db.example.org:6432/api_business").unwrap();
        assert_eq!(address.to_string(), "api_business at db.example.org:6432");
        assert!(!format!("{address:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        for text in [
            "mysql://ann:s3cret@host/db",
            "postgres://ann:s3cret@host:port/db",
            "postgres://ann:s3cret@host",
            "host=db password=s3cret",
            "",
        ] {
            let why = Address::parse(text).unwrap_err();
            assert!(!why.contains("s3cret"), "{why}");
        }
    }
}
