//! Whether the two tables are as they must be, and we may do with them what we must: every lack by its name.

use crate::rows::{BuilderStatus, over};
use crate::{Backlog, Fault, TableName, Tables};
use sqlx::{Postgres, Row as _, Transaction};

/// A limit of a text column below this is refused: a log would not fit.
pub const TEXT_MAX: i32 = 65_536;

/// What was found right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Rows that may be built now.
    pub ready: usize,
}

/// What a column must be like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Whole numbers.
    Number,
    /// Text.
    Text,
    /// Text without a small limit.
    LongText,
    /// Text, or an enumeration that has all our words.
    Word(&'static [&'static str]),
    /// Anything that sorts.
    Any,
}

/// What is done with a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Right {
    Select,
    Update,
    Insert,
}

impl Right {
    fn word(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Update => "UPDATE",
            Self::Insert => "INSERT",
        }
    }
}

const BUILDER_STATUS: &[&str] = &[
    BuilderStatus::NotStarted.word(),
    BuilderStatus::Queued.word(),
    BuilderStatus::Building.word(),
    BuilderStatus::Failed.word(),
    BuilderStatus::AwaitingApproval.word(),
    BuilderStatus::Approved.word(),
    BuilderStatus::Deployed.word(),
];

/// The columns of `automation_ideas` (requirements A1), and what is done with them.
const IDEAS: &[(&str, Kind, &[Right])] = &[
    ("id", Kind::Number, &[Right::Select]),
    ("name", Kind::Text, &[Right::Select]),
    ("task_description", Kind::Text, &[Right::Select]),
    (
        "type",
        Kind::Word(&["claude_agent", "script"]),
        &[Right::Select],
    ),
    ("infrastructure_requirement", Kind::Text, &[Right::Select]),
    (
        "status",
        Kind::Word(&["ready_to_build", "deployed"]),
        &[Right::Select, Right::Update],
    ),
    (
        "builder_status",
        Kind::Word(BUILDER_STATUS),
        &[Right::Select, Right::Update],
    ),
    ("priority", Kind::Any, &[Right::Select]),
];

/// The columns of `agent_test_results` (requirements A7).
const RESULTS: &[(&str, Kind, &[Right])] = &[
    ("automation_id", Kind::Number, &[Right::Insert]),
    ("test_level", Kind::Number, &[Right::Insert]),
    ("status", Kind::Word(&["pass", "fail"]), &[Right::Insert]),
    ("execution_log", Kind::LongText, &[Right::Insert]),
];

/// A column as the catalogue has it.
struct Column {
    name: String,
    shown: String,
    category: String,
    type_oid: i64,
    limit: Option<i32>,
    needed: bool,
    sequence: Option<String>,
}

impl Backlog {
    /// Looks whether everything is there.
    ///
    /// # Errors
    /// [`Fault::Unfit`] with every table, column and right that is missing or wrong.
    pub async fn check(&mut self) -> Result<Checked, Fault> {
        let tables = self.tables.clone();
        let mut transaction = self.begin().await?;
        let lacks = lacks(&mut transaction, &tables).await;
        over(transaction).await;
        let lacks = lacks?;
        if !lacks.is_empty() {
            return Err(Fault::Unfit(lacks));
        }
        let ready = self.ready().await?.len();
        Ok(Checked { ready })
    }
}

async fn lacks(
    transaction: &mut Transaction<'_, Postgres>,
    tables: &Tables,
) -> Result<Vec<String>, Fault> {
    let mut lacks = Vec::new();
    let read_only: String = sqlx::query_scalar("SHOW transaction_read_only")
        .fetch_one(&mut **transaction)
        .await
        .map_err(|error| Fault::of(&error))?;
    if read_only == "on" {
        lacks.push(
            "the database is read-only (a standby?): connect the one that takes writes".to_owned(),
        );
    }
    table(transaction, &tables.ideas, IDEAS, &mut lacks).await?;
    table(transaction, &tables.results, RESULTS, &mut lacks).await?;
    Ok(lacks)
}

async fn table(
    transaction: &mut Transaction<'_, Postgres>,
    table: &TableName,
    wanted: &[(&str, Kind, &[Right])],
    lacks: &mut Vec<String>,
) -> Result<(), Fault> {
    let found = sqlx::query(
        "SELECT c.oid::bigint AS oid, c.relkind::text AS kind FROM pg_class AS c WHERE c.oid = to_regclass($1)",
    )
    .bind(table.quoted())
    .fetch_optional(&mut **transaction)
    .await
    .map_err(|error| Fault::of(&error))?;
    let Some(found) = found else {
        lacks.push(format!(
            "there is no table {table}: give its name with --table or --results-table, with its schema where that is not searched"
        ));
        return Ok(());
    };
    let of = |error: sqlx::Error| Fault::of(&error);
    let (oid, kind): (i64, String) = (
        found.try_get("oid").map_err(of)?,
        found.try_get("kind").map_err(of)?,
    );
    if !matches!(kind.as_str(), "r" | "p") {
        lacks.push(format!(
            "{table} is not a table: views and foreign tables cannot be locked row by row"
        ));
        return Ok(());
    }
    let columns = columns(transaction, oid).await?;
    let inserts = wanted
        .iter()
        .any(|(_, _, rights)| rights.contains(&Right::Insert));
    for (name, kind, rights) in wanted {
        let Some(column) = columns.iter().find(|column| column.name == *name) else {
            lacks.push(format!("{table} lacks the column {name}"));
            continue;
        };
        if let Some(why) = wrong(transaction, column, *kind).await? {
            lacks.push(format!("the column {name} of {table} {why}"));
        }
        for right in *rights {
            if !has(transaction, oid, name, *right).await? {
                lacks.push(format!(
                    "the right to {} {name} of {table} is missing: GRANT {} ({name}) ON {} TO the user of the address",
                    right.word(),
                    right.word(),
                    table.quoted()
                ));
            }
        }
    }
    let ours = |column: &&Column| wanted.iter().any(|(name, _, _)| column.name == *name);
    if inserts {
        for column in columns.iter().filter(|column| !ours(column)) {
            by_itself(transaction, table, column, lacks).await?;
        }
    }
    Ok(())
}

/// A column that is filled without us when a row is added.
async fn by_itself(
    transaction: &mut Transaction<'_, Postgres>,
    table: &TableName,
    column: &Column,
    lacks: &mut Vec<String>,
) -> Result<(), Fault> {
    if column.needed {
        lacks.push(format!(
            "the column {} of {table} is NOT NULL without a default, and agentwright does not know what to write there",
            column.name
        ));
    }
    if let Some(sequence) = &column.sequence
        && !may_use(transaction, sequence).await?
    {
        lacks.push(format!(
            "the right to use the sequence {sequence} of {table} is missing: GRANT USAGE ON SEQUENCE {sequence} TO the user of the address"
        ));
    }
    Ok(())
}

async fn columns(
    transaction: &mut Transaction<'_, Postgres>,
    oid: i64,
) -> Result<Vec<Column>, Fault> {
    // What an identity makes needs no right of its own; what a default takes from a sequence does.
    let rows = sqlx::query(
        "SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS shown,
           t.typcategory::text AS category, t.oid::bigint AS type_oid,
           CASE WHEN t.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4 THEN a.atttypmod - 4 END AS size,
           (a.attnotnull AND NOT a.atthasdef AND a.attidentity::text = '' AND a.attgenerated::text = '') AS needed,
           CASE WHEN a.attidentity::text = '' THEN (
             SELECT d.refobjid::regclass::text FROM pg_attrdef AS f
             JOIN pg_depend AS d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
               AND d.refclassid = 'pg_class'::regclass
             JOIN pg_class AS s ON s.oid = d.refobjid AND s.relkind = 'S'
             WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum LIMIT 1) END AS sequence
         FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
         WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
    )
    .bind(oid)
    .fetch_all(&mut **transaction)
    .await
    .map_err(|error| Fault::of(&error))?;
    let column = |row: &sqlx::postgres::PgRow| -> Result<Column, sqlx::Error> {
        Ok(Column {
            name: row.try_get("name")?,
            shown: row.try_get("shown")?,
            category: row.try_get("category")?,
            type_oid: row.try_get("type_oid")?,
            limit: row.try_get("size")?,
            needed: row.try_get("needed")?,
            sequence: row.try_get("sequence")?,
        })
    };
    rows.iter()
        .map(|row| column(row).map_err(|error| Fault::of(&error)))
        .collect()
}

/// What is wrong with a column's type.
async fn wrong(
    transaction: &mut Transaction<'_, Postgres>,
    column: &Column,
    kind: Kind,
) -> Result<Option<String>, Fault> {
    let shown = &column.shown;
    let number = matches!(shown.as_str(), "smallint" | "integer" | "bigint");
    let text = column.category == "S";
    let why = match kind {
        Kind::Number if !number => Some(format!(
            "is {shown}: it must be smallint, integer or bigint"
        )),
        Kind::Text | Kind::LongText if !text => Some(format!("is {shown}: it must be text")),
        Kind::LongText if column.limit.is_some_and(|limit| limit < TEXT_MAX) => Some(format!(
            "is {shown}: it must be text, or a log would not fit"
        )),
        Kind::Word(words) if column.category == "E" => {
            let labels: Vec<String> =
                sqlx::query_scalar("SELECT enumlabel::text FROM pg_enum WHERE enumtypid = $1::oid")
                    .bind(column.type_oid)
                    .fetch_all(&mut **transaction)
                    .await
                    .map_err(|error| Fault::of(&error))?;
            let missing: Vec<&str> = words
                .iter()
                .copied()
                .filter(|word| labels.iter().all(|label| label != word))
                .collect();
            (!missing.is_empty()).then(|| format!("is {shown}, which lacks {}", missing.join(", ")))
        }
        Kind::Word(words) => {
            let longest = words.iter().map(|word| word.len()).max().unwrap_or(0);
            let short = column
                .limit
                .is_some_and(|limit| usize::try_from(limit).unwrap_or(0) < longest);
            (!text || short).then(|| format!("is {shown}: it must be text"))
        }
        Kind::Number | Kind::Text | Kind::LongText | Kind::Any => None,
    };
    Ok(why)
}

async fn has(
    transaction: &mut Transaction<'_, Postgres>,
    oid: i64,
    column: &str,
    right: Right,
) -> Result<bool, Fault> {
    sqlx::query_scalar("SELECT has_column_privilege($1::oid, $2::text, $3::text)")
        .bind(oid)
        .bind(column)
        .bind(right.word())
        .fetch_one(&mut **transaction)
        .await
        .map_err(|error| Fault::of(&error))
}

async fn may_use(
    transaction: &mut Transaction<'_, Postgres>,
    sequence: &str,
) -> Result<bool, Fault> {
    sqlx::query_scalar("SELECT has_sequence_privilege($1::text, 'USAGE')")
        .bind(sequence)
        .fetch_one(&mut **transaction)
        .await
        .map_err(|error| Fault::of(&error))
}
