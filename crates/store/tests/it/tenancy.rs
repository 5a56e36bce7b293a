//! The second wall on PostgreSQL: what the database itself refuses, whatever a statement forgets.

use crate::bed::{START_MS, actor, of_organization};
use agentwright_domain::ids::OrganizationId;
use agentwright_store::{Location, OpenError, Options, OrgScope, Store};
use agentwright_testkit::{Cluster, build_run, temp_dir};
use sqlx::{Connection as _, Executor as _, PgConnection};

async fn connection(url: &str, told: Option<&str>) -> PgConnection {
    let mut conn = PgConnection::connect(url).await.unwrap();
    conn.execute("SET search_path = agentwright").await.unwrap();
    if let Some(told) = told {
        let sql = format!("SET agentwright.organization = '{told}'");
        conn.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    }
    conn
}

/// What a statement that names no organization finds.
async fn labels(conn: &mut PgConnection) -> Vec<String> {
    let sql = "SELECT label FROM runs ORDER BY label";
    sqlx::query_scalar(sql).fetch_all(conn).await.unwrap()
}

#[tokio::test]
async fn a_statement_that_forgets_its_organization_sees_and_writes_only_its_own() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let (url, dir) = (cluster.database().await, temp_dir());
    let store = Store::open(Location::Postgres(url.clone()), Options::new(dir.path()))
        .await
        .unwrap();
    for id in ["a", "b"] {
        let organization = OrganizationId::new(id);
        store
            .add_organization(&organization, id, &actor())
            .await
            .unwrap();
        let run = build_run(&store.new_id(), &format!("of-{id}"));
        store.submit(of_organization(id, run), None).await.unwrap();
        let scope = OrgScope::authenticated(organization);
        store
            .add_login_code(
                &scope,
                "x",
                agentwright_domain::principal::Role::Viewer,
                &actor(),
            )
            .await
            .unwrap();
    }
    // Nobody, one, an unknown one, the worker; and one after another on the same connection.
    for (told, seen) in [
        (None, vec![]),
        (Some(""), vec![]),
        (Some("a"), vec!["of-a"]),
        (Some("c"), vec![]),
        (Some("*"), vec!["of-a", "of-b"]),
    ] {
        let mut conn = connection(&url, told).await;
        assert_eq!(labels(&mut conn).await, seen, "{told:?}");
    }
    let mut conn = connection(&url, Some("a")).await;
    assert_eq!(labels(&mut conn).await, ["of-a"]);
    conn.execute("SET agentwright.organization = 'b'")
        .await
        .unwrap();
    assert_eq!(labels(&mut conn).await, ["of-b"]);
    // Writing for another one, moving a row there, and touching what it has.
    let refused = [
        format!("INSERT INTO budgets VALUES ('a', 'day', '', '{{}}', {START_MS}, 'x')"),
        "UPDATE runs SET organization_id = 'a'".to_owned(),
    ];
    for sql in refused {
        let error = conn
            .execute(sqlx::AssertSqlSafe(sql.clone()))
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("row-level security"),
            "{sql}: {error}"
        );
    }
    let touched = conn
        .execute("UPDATE runs SET label = 'mine'")
        .await
        .unwrap();
    assert_eq!(touched.rows_affected(), 1);
    let ours = format!("INSERT INTO budgets VALUES ('b', 'day', '', '{{}}', {START_MS}, 'x')");
    conn.execute(sqlx::AssertSqlSafe(ours)).await.unwrap();

    // The control: the same statement on the same rows, once the wall is taken down.
    let mut above = connection(&cluster.superuser(&url), None).await;
    above
        .execute("ALTER TABLE runs DISABLE ROW LEVEL SECURITY")
        .await
        .unwrap();
    assert_eq!(labels(&mut conn).await, ["mine", "of-a"]);
    store.close().await;

    // The next start puts it back up.
    let store = Store::open(Location::Postgres(url.clone()), Options::new(dir.path()))
        .await
        .unwrap();
    assert_eq!(labels(&mut conn).await, ["mine"]);
    store.close().await;
}

#[tokio::test]
async fn it_does_not_open_where_the_wall_would_not_stand() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let (url, dir) = (cluster.database().await, temp_dir());
    let open = async |url: &str| {
        Store::open(Location::Postgres(url.to_owned()), Options::new(dir.path())).await
    };
    let refused = async |url: &str, says: &str| {
        let error = open(url).await.err().unwrap();
        assert!(matches!(error, OpenError::NoWall { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    };
    let above = cluster.superuser(&url);
    refused(&above, "superuser").await;
    let store = open(&url).await.unwrap();
    store.close().await;
    refused(&above, "superuser").await;

    let mut conn = connection(&above, None).await;
    conn.execute("CREATE VIEW everything AS SELECT * FROM runs")
        .await
        .unwrap();
    refused(&url, "everything").await;
    conn.execute("ALTER VIEW everything SET (security_invoker = true)")
        .await
        .unwrap();
    let store = open(&url).await.unwrap();
    store.close().await;

    conn.execute("ALTER ROLE agentwright BYPASSRLS")
        .await
        .unwrap();
    refused(&url, "BYPASSRLS").await;
}
