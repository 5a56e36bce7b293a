//! The playbook of a person's own table, on a real PostgreSQL: claimed, built, written back in place.

use crate::support::{World, yes};
use agentwright_api::{
    BuildDetail, ClientError, ConnectTable, ConnectedTable, Decide, DecisionRequest, QueueItem,
    RetryBuild,
};
use agentwright_domain::ids::Slug;
use agentwright_server::Config;
use agentwright_store::OrgScope;
use agentwright_testkit::{Cluster, eventually};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use tempfile::TempDir;

/// A person's database with the two tables, and a user who may do exactly what must be done.
struct Business {
    cluster: Cluster,
    url: String,
    dir: TempDir,
}

impl Business {
    async fn new() -> Option<Self> {
        let cluster = Cluster::start().await?;
        let url = cluster.database().await;
        let this = Self {
            url: url.replace("postgres://agentwright@", "postgres://builder_user@"),
            cluster,
            dir: TempDir::new().unwrap(),
        };
        std::fs::write(this.address(), format!("{}\n", this.url)).unwrap();
        std::fs::set_permissions(this.address(), std::fs::Permissions::from_mode(0o600)).unwrap();
        this.sql(
            "CREATE TABLE automation_ideas (id SERIAL PRIMARY KEY, name TEXT NOT NULL, task_description TEXT,
               type TEXT NOT NULL DEFAULT 'script', infrastructure_requirement TEXT DEFAULT 'none',
               status TEXT NOT NULL DEFAULT 'ready_to_build', builder_status TEXT NOT NULL DEFAULT 'not_started',
               priority INTEGER, owner TEXT DEFAULT 'ann');
             CREATE TABLE agent_test_results (id SERIAL PRIMARY KEY, automation_id INTEGER REFERENCES automation_ideas (id),
               test_level INTEGER NOT NULL, status TEXT NOT NULL, execution_log TEXT);
             CREATE TABLE history (n SERIAL, id INTEGER, line TEXT);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
               $$BEGIN INSERT INTO history (id, line) VALUES (NEW.id, NEW.builder_status); RETURN NEW; END$$;
             CREATE TRIGGER noting BEFORE UPDATE ON automation_ideas FOR EACH ROW EXECUTE FUNCTION note();
             CREATE ROLE builder_user LOGIN;
             GRANT SELECT (id, name, task_description, type, infrastructure_requirement, status, builder_status, priority)
               ON automation_ideas TO builder_user;
             GRANT UPDATE (status, builder_status) ON automation_ideas TO builder_user;
             GRANT INSERT (automation_id, test_level, status, execution_log) ON agent_test_results TO builder_user;
             GRANT USAGE ON SEQUENCE agent_test_results_id_seq TO builder_user",
        )
        .await;
        Some(this)
    }

    fn address(&self) -> PathBuf {
        self.dir.path().join("business.url")
    }

    async fn admin(&self) -> PgConnection {
        let admin = self.cluster.superuser(&self.url);
        PgConnection::connect(&admin).await.unwrap()
    }

    async fn sql(&self, sql: &str) {
        self.admin()
            .await
            .execute(AssertSqlSafe(sql))
            .await
            .unwrap();
    }

    /// One row, whose description says what its build does.
    async fn row(&self, name: &str, description: &str) {
        let sql = "INSERT INTO automation_ideas (name, task_description) VALUES ($1, $2)";
        let query = sqlx::query(sql).bind(name).bind(description);
        query.execute(&mut self.admin().await).await.unwrap();
    }

    async fn read(&self, sql: &str) -> Vec<String> {
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_all(&mut self.admin().await)
            .await
            .unwrap()
    }

    async fn stands(&self, id: i64) -> String {
        let sql = format!("SELECT builder_status FROM automation_ideas WHERE id = {id}");
        self.read(&sql).await.remove(0)
    }

    async fn until(&self, id: i64, status: &str) {
        eventually(&format!("row {id} is {status}"), async || {
            (self.stands(id).await == status).then_some(())
        })
        .await;
    }

    /// Every status that a row had.
    async fn history(&self, id: i64) -> Vec<String> {
        let sql = format!("SELECT line FROM history WHERE id = {id} ORDER BY n");
        self.read(&sql).await
    }

    async fn results(&self, id: i64) -> Vec<String> {
        let sql = format!(
            "SELECT test_level || ' ' || status || ' ' || split_part(execution_log, E'\\n', 1)
             FROM agent_test_results WHERE automation_id = {id} ORDER BY id"
        );
        self.read(&sql).await
    }

    /// Nobody gets in, and whoever is in is thrown out.
    async fn goes_away(&self) {
        let name = self.name();
        let mut conn = PgConnection::connect(&self.cluster.superuser("postgres"))
            .await
            .unwrap();
        let sql = format!(
            "ALTER DATABASE {name} ALLOW_CONNECTIONS false;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        for statement in sql.split(';') {
            conn.execute(AssertSqlSafe(statement)).await.unwrap();
        }
    }

    async fn comes_back(&self) {
        let mut conn = PgConnection::connect(&self.cluster.superuser("postgres"))
            .await
            .unwrap();
        let sql = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", self.name());
        conn.execute(AssertSqlSafe(sql)).await.unwrap();
    }

    fn name(&self) -> &str {
        let path = self.url.split('?').next().unwrap();
        path.rsplit('/').next().unwrap()
    }

    fn request(&self) -> ConnectTable {
        ConnectTable {
            reference: format!("file:{}", self.address().display()),
            table: "automation_ideas".into(),
            results_table: "agent_test_results".into(),
            name: None,
            base_dir: "/home/ann".into(),
            zone: "UTC".into(),
        }
    }

    async fn connected(&self, world: &World) -> ConnectedTable {
        world.client.connect_table(&self.request()).await.unwrap()
    }
}

/// What went wrong is looked at again at once, and the queue's own rule of one at a time does not hold tests up.
fn many(config: &mut Config) {
    config.settings.queue.limit = 8;
    config.settings.builds = 8;
    config.settings.queue.heartbeat_s = 10;
}

async fn table(world: &World) -> ConnectedTable {
    world
        .client
        .connected_tables()
        .await
        .unwrap()
        .items
        .remove(0)
}

/// The answer for a row.
async fn answered(world: &World, label: &str, word: &str) -> QueueItem {
    eventually(&format!("{label} is answered {word}"), async || {
        let item = world.client.queue_why(label).await.ok()?.item;
        item.why
            .as_ref()
            .is_some_and(|why| why.decision == word)
            .then_some(item)
    })
    .await
}

/// The build of a row, once it waits for a person.
async fn waiting(world: &World, label: &str) -> BuildDetail {
    let item = eventually(&format!("{label} has a build"), async || {
        let item = world.client.queue_why(label).await.ok()?.item;
        item.build
    })
    .await;
    world.until_settled(item.as_str()).await
}

async fn titles(world: &World) -> Vec<String> {
    let notices = world
        .store()
        .notices(&OrgScope::local(), 100)
        .await
        .unwrap();
    notices.into_iter().map(|one| one.notice.title).collect()
}

fn refused(error: &ClientError) -> (u16, String) {
    let problem = error.problem().unwrap();
    (problem.status, problem.detail.clone())
}

#[tokio::test]
async fn the_playbook_runs_from_claim_to_deployed_and_waits_for_a_yes() {
    let Some(business) = Business::new().await else {
        return;
    };
    business.row("Second", "count the words of each note").await;
    business
        .row("Zip the notes", "zip the notes every night")
        .await;
    business
        .sql("UPDATE automation_ideas SET priority = 1 WHERE id = 2")
        .await;
    business
        .sql("INSERT INTO automation_ideas (name, type, priority) VALUES ('a workflow', 'n8n_workflow', 0)")
        .await;
    business.sql("DELETE FROM history").await;
    let world = World::new().await;
    let connected = business.connected(&world).await;
    assert_eq!(connected.name.as_str(), "automation-ideas");

    let build = waiting(&world, "agent-2-zip-the-notes").await;
    business.until(2, "awaiting_approval").await;
    for text in [
        "Build a script automation",
        "Name: Zip the notes",
        "Infrastructure: none",
        "Secrets are never hard-coded",
        "zip the notes every night",
    ] {
        assert!(build.build.intent.contains(text), "{}", build.build.intent);
    }
    assert_eq!(
        business.history(2).await,
        ["queued", "building", "awaiting_approval"]
    );
    // A build that waits for a person holds nobody up.
    let second = waiting(&world, "agent-1-second").await;
    assert_eq!(business.results(2).await, ["1 pass every file parses"]);

    world.approve(&build).await;
    business.until(2, "deployed").await;
    assert_eq!(
        business.history(2).await,
        [
            "queued",
            "building",
            "awaiting_approval",
            "approved",
            "deployed"
        ]
    );
    assert_eq!(
        business.read("SELECT status || ' ' || name || ' ' || task_description || ' ' || owner || ' ' || priority FROM automation_ideas WHERE id = 2").await,
        ["deployed Zip the notes zip the notes every night ann 1"]
    );
    let no = DecisionRequest {
        decision: Decide::Reject,
        notes: Some("not now".into()),
        ..yes(&second)
    };
    world
        .client
        .decide(second.build.id.as_str(), &no)
        .await
        .unwrap();
    business.until(1, "failed").await;
    let results = business.results(1).await;
    assert!(
        results.len() == 2 && results[1].starts_with("0 fail promotion was rejected by"),
        "{results:?}"
    );
    assert!(results[1].ends_with(": not now"), "{results:?}");
    assert_eq!(
        (
            business.history(3).await.len(),
            business.results(3).await.len()
        ),
        (0, 0)
    );

    let notices = world
        .store()
        .notices(&OrgScope::local(), 100)
        .await
        .unwrap();
    let asks = notices
        .iter()
        .find(|one| one.notice.title == "Agent Ready for Promotion — Zip the notes");
    let body = &asks.unwrap().notice.body;
    for line in [
        "[Agent Builder] READY — Zip the notes passed all tests, awaiting your approval",
        "All 4 test levels passed in sandbox. Automation id=2 (script) is ready for production promotion. Reply to approve or reject.",
    ] {
        assert!(body.lines().any(|one| one == line), "{body}");
    }
    let titles = titles(&world).await;
    for title in [
        "[Agent Builder] Building Zip the notes (id=2, type=script)",
        "Agent Ready for Promotion — Zip the notes",
    ] {
        assert!(titles.iter().any(|one| one == title), "{titles:?}");
    }
    let rows = table(&world).await.rows;
    let rows: Vec<_> = rows
        .iter()
        .map(|row| (row.id, row.builder_status.as_str(), row.to_write))
        .collect();
    assert_eq!(rows, [(1, "failed", false), (2, "deployed", false)]);
    // Another build of a row would not be written back.
    let again = world
        .client
        .retry(second.build.id.as_str(), &RetryBuild::default(), None)
        .await;
    let (status, said) = refused(&again.unwrap_err());
    assert!(
        status == 409 && said.contains("set the row's builder_status to not_started"),
        "{said}"
    );
    // A person looked, and wants it once more.
    business
        .sql("UPDATE automation_ideas SET builder_status = 'not_started' WHERE id = 1")
        .await;
    world
        .client
        .beat(&agentwright_api::BeatRequest::default())
        .await
        .unwrap();
    business.until(1, "awaiting_approval").await;
    world.end().await;
}

#[tokio::test]
async fn each_failure_of_the_playbook_ends_as_it_says() {
    let Some(business) = Business::new().await else {
        return;
    };
    let cases = [
        // Ollama fails or is too slow.
        (
            "break generate limit",
            "failed",
            "0 fail generate: generate broke",
            "[Agent Builder] FAIL — Generation failed for Case 1: generate broke",
        ),
        // The overseer says FAIL.
        (
            "break review review",
            "failed",
            "0 fail review: review broke",
            "[Agent Builder] FAIL — Overseer rejected Case 2: review broke",
        ),
        // A level does not hold.
        (
            "fail",
            "failed",
            "4 fail every file parses",
            "[Agent Builder] FAIL — Case 3 failed Level 4: level 4: the zip is empty",
        ),
        // An unhandled exception after generation began.
        (
            "break generate fault",
            "failed",
            "0 fail generate: generate broke",
            "[Agent Builder] ERROR — Case 4: generate broke",
        ),
        (
            "break deploy deploy",
            "awaiting_approval",
            "1 pass every file parses",
            "Agent Ready for Promotion — Case 5",
        ),
        // Before anything was generated the claim is released.
        (
            "break package fault",
            "not_started",
            "0 fail package: package broke",
            "[Agent Builder] ERROR — Case 6: package broke",
        ),
        (
            "break spec refused",
            "failed",
            "0 fail spec: spec broke",
            "[Agent Builder] FAIL — Generation failed for Case 7: spec broke",
        ),
    ];
    for (n, (does, ..)) in (1..).zip(&cases) {
        business.row(&format!("Case {n}"), does).await;
    }
    let world = World::with(many).await;
    business.connected(&world).await;
    for (id, (does, status, line, title)) in (1..).zip(cases) {
        eventually(&format!("{does} is written"), async || {
            (!business.results(id).await.is_empty()).then_some(())
        })
        .await;
        business.until(id, status).await;
        assert_eq!(business.results(id).await, [line], "{does}");
        let titles = titles(&world).await;
        assert!(titles.iter().any(|one| one == title), "{does}: {titles:?}");
    }
    // It is tried again later, not at once and not for ever.
    let released = answered(&world, "agent-6-case-6", "retry").await;
    assert_eq!((released.failures, released.status.as_str()), (1, "queued"));
    assert_eq!(
        business.history(6).await,
        ["queued", "building", "not_started"]
    );
    // A deploy that fails after the yes.
    world
        .approve(&waiting(&world, "agent-5-case-5").await)
        .await;
    business.until(5, "failed").await;
    assert_eq!(
        business.results(5).await,
        ["1 pass every file parses", "0 fail deploy: deploy broke"]
    );
    // What failed stays until a person looks.
    world
        .client
        .beat(&agentwright_api::BeatRequest::default())
        .await
        .unwrap();
    answered(&world, "agent-6-case-6", "retry").await;
    assert_eq!(business.history(1).await, ["queued", "building", "failed"]);
    world.end().await;
}

#[tokio::test]
async fn two_agentwrights_on_one_table_never_build_the_same_row() {
    let Some(business) = Business::new().await else {
        return;
    };
    for n in 1..=8 {
        business
            .row(&format!("Row {n}"), "count the words of each note")
            .await;
    }
    let (one, other) = (World::with(many).await, World::with(many).await);
    let (first, second) = tokio::join!(business.connected(&one), business.connected(&other));
    assert_eq!(first.name, second.name);
    for id in 1..=8 {
        business.until(id, "awaiting_approval").await;
        assert_eq!(
            business.history(id).await,
            ["queued", "building", "awaiting_approval"]
        );
        assert_eq!(business.results(id).await.len(), 1);
    }
    let built = async |world: &World| {
        let query = agentwright_api::BuildQuery::default();
        world.client.builds(&query).await.unwrap().items.len()
    };
    assert_eq!(built(&one).await + built(&other).await, 8);
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn who_was_too_late_for_a_row_says_so_and_leaves_it() {
    let Some(business) = Business::new().await else {
        return;
    };
    for n in 1..=2 {
        business
            .row(&format!("Row {n}"), "count the words of each note")
            .await;
    }
    // The other builder takes the second row between our look and our claim of it.
    business
        .sql(
            "CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               UPDATE automation_ideas SET builder_status = 'queued' WHERE id = 2; RETURN NULL; END $$;
             CREATE TRIGGER other AFTER UPDATE ON automation_ideas FOR EACH ROW
               WHEN (NEW.id = 1 AND NEW.builder_status = 'queued') EXECUTE FUNCTION other()",
        )
        .await;
    let world = World::with(many).await;
    business.connected(&world).await;
    business.until(1, "awaiting_approval").await;
    let late = "[Agent Builder] CLAIMED — Row 2 is claimed by another builder (id=2, type=script)";
    eventually("it is told", async || {
        titles(&world)
            .await
            .iter()
            .any(|title| title == late)
            .then_some(())
    })
    .await;
    assert_eq!(business.stands(2).await, "queued");
    assert_eq!(business.results(2).await.len(), 0);
    world.end().await;
}

#[tokio::test]
async fn several_tables_and_the_queue_are_built_from_one_after_the_other() {
    let Some(business) = Business::new().await else {
        return;
    };
    business
        .sql(
            "CREATE TABLE more (LIKE automation_ideas INCLUDING ALL);
             GRANT SELECT, UPDATE ON more TO builder_user;
             INSERT INTO more (id, name, task_description) VALUES (1, 'One', 'zip the letters');
             CREATE TABLE more_results (LIKE agent_test_results INCLUDING ALL);
             GRANT INSERT ON more_results TO builder_user",
        )
        .await;
    // The same number and name in both.
    business.row("One", "hold it, and zip the notes").await;
    let world = World::new().await;
    business.connected(&world).await;
    world.script.holding().await;
    let more = ConnectTable {
        table: "public.more".into(),
        results_table: "more_results".into(),
        ..business.request()
    };
    world.client.connect_table(&more).await.unwrap();
    let waits = answered(&world, "more-1-one", "limit").await;
    assert!(waits.why.unwrap().words.contains("agent-1-one"), "no words");
    // An item of the queue waits for the row as well.
    let item = agentwright_api::QueueAdd {
        name: "Words".into(),
        description: Some("Count the words of each note and append them to a table".into()),
        criteria: vec!["the table has one row for each note".into()],
        ..agentwright_api::QueueAdd::default()
    };
    let adds = agentwright_api::QueueAdds {
        items: vec![item],
        base_dir: "/home/ann".into(),
        zone: "UTC".into(),
    };
    world.client.queue_add(&adds).await.unwrap();
    answered(&world, "words", "limit").await;
    world.script.release();
    business.until(1, "awaiting_approval").await;
    eventually("the other table's row is built", async || {
        let stands = business.read("SELECT builder_status FROM more").await;
        (stands == ["awaiting_approval"]).then_some(())
    })
    .await;
    eventually("the item is built", async || {
        let item = world.client.queue_why("words").await.ok()?.item;
        (item.status == "awaiting_approval").then_some(())
    })
    .await;
    assert_eq!(
        business
            .read("SELECT execution_log FROM more_results")
            .await
            .len(),
        1
    );
    let listed = world.client.queue().await.unwrap().items;
    let labels: Vec<_> = listed.iter().map(|item| item.label.as_str()).collect();
    assert_eq!(labels, ["words", "agent-1-one", "more-1-one"]);
    world.end().await;
}

#[tokio::test]
async fn a_row_whose_lock_is_held_is_passed_over_with_a_receipt() {
    let Some(business) = Business::new().await else {
        return;
    };
    business.row("Locked", "count the words of each note").await;
    business.row("Free", "count the words of each note").await;
    let mut holder = business.admin().await;
    let mut held = holder.begin().await.unwrap();
    held.execute("SELECT 1 FROM automation_ideas WHERE id = 1 FOR UPDATE")
        .await
        .unwrap();
    let world = World::new().await;
    business.connected(&world).await;
    let locked = answered(&world, "agent-1-locked", "locked").await;
    assert!(locked.why.unwrap().words.contains("lock"), "no words");
    business.until(2, "awaiting_approval").await;
    assert_eq!(business.stands(1).await, "not_started");
    held.rollback().await.unwrap();
    world
        .client
        .beat(&agentwright_api::BeatRequest::default())
        .await
        .unwrap();
    business.until(1, "awaiting_approval").await;
    world.end().await;
}

#[tokio::test]
async fn a_row_that_was_edited_makes_the_approval_stale_and_is_built_anew() {
    let Some(business) = Business::new().await else {
        return;
    };
    business.row("Notes", "zip the notes").await;
    let world = World::new().await;
    business.connected(&world).await;
    let first = waiting(&world, "agent-1-notes").await;
    business.until(1, "awaiting_approval").await;
    business.sql("UPDATE automation_ideas SET task_description = 'zip the letters', owner = 'bob' WHERE id = 1").await;
    let yes_to_it = yes(&first);
    let (status, said) = refused(
        &world
            .client
            .decide(first.build.id.as_str(), &yes_to_it)
            .await
            .unwrap_err(),
    );
    assert!(
        status == 409 && said.contains("task_description"),
        "{status} {said}"
    );
    let second = eventually("it is built anew", async || {
        let build = world
            .client
            .queue_why("agent-1-notes")
            .await
            .ok()?
            .item
            .build?;
        (build != first.build.id).then_some(build)
    })
    .await;
    let ended = world.client.build(first.build.id.as_str()).await.unwrap();
    let ended = serde_json::to_string(&ended.build).unwrap();
    assert!(
        ended.contains("was edited while it was built (task_description)"),
        "{ended}"
    );
    let second = world.until_settled(second.as_str()).await;
    assert!(
        second.build.intent.contains("zip the letters"),
        "{}",
        second.build.intent
    );
    business.until(1, "awaiting_approval").await;
    world.approve(&second).await;
    business.until(1, "deployed").await;
    assert_eq!(
        business.read("SELECT owner FROM automation_ideas").await,
        ["bob"]
    );
    world.end().await;
}

#[tokio::test]
async fn a_row_that_somebody_else_takes_or_removes_is_left_to_them() {
    let Some(business) = Business::new().await else {
        return;
    };
    business.row("Taken", "zip the notes").await;
    business.row("Gone", "zip the letters").await;
    let world = World::with(many).await;
    business.connected(&world).await;
    for (id, label) in [(1, "agent-1-taken"), (2, "agent-2-gone")] {
        waiting(&world, label).await;
        business.until(id, "awaiting_approval").await;
    }
    business
        .sql("UPDATE automation_ideas SET builder_status = 'approved' WHERE id = 1")
        .await;
    business.sql("DELETE FROM agent_test_results WHERE automation_id = 2; DELETE FROM automation_ideas WHERE id = 2").await;
    world
        .client
        .beat(&agentwright_api::BeatRequest::default())
        .await
        .unwrap();
    for (label, why) in [
        ("agent-1-taken", "somebody else set builder_status"),
        ("agent-2-gone", "is gone"),
    ] {
        let build = waiting(&world, label).await;
        let build = eventually("the build ended", async || {
            let detail = world.client.build(build.build.id.as_str()).await.unwrap();
            detail.build.status().ended().then_some(detail)
        })
        .await;
        let said = serde_json::to_string(&build.build).unwrap();
        assert!(said.contains(why), "{said}");
    }
    // What they wrote stands: writing it there is no yes.
    assert_eq!(business.stands(1).await, "approved");
    assert_eq!(business.results(1).await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_written_while_the_database_is_away_is_written_once_when_it_is_back() {
    let Some(business) = Business::new().await else {
        return;
    };
    business.row("Held", "hold it, and zip the notes").await;
    business.row("Waits", "zip the letters").await;
    let world = World::new().await;
    business.connected(&world).await;
    world.script.holding().await;
    business.goes_away().await;
    world.script.release();
    let build = waiting(&world, "agent-1-held").await;
    let away = answered(&world, "agent-2-waits", "away").await;
    assert!(
        away.why
            .unwrap()
            .words
            .contains("its database cannot be used"),
        "no words"
    );
    let shown = table(&world).await;
    assert!(
        shown.failures > 0 && shown.error.is_some() && shown.rows[0].to_write,
        "{shown:?}"
    );
    // Nobody can say whether the row was edited.
    let (status, said) = refused(
        &world
            .client
            .decide(build.build.id.as_str(), &yes(&build))
            .await
            .unwrap_err(),
    );
    assert!(
        status == 503 && said.contains("when the database is back"),
        "{status} {said}"
    );
    let (status, said) = refused(
        &world
            .client
            .disconnect_table("automation-ideas")
            .await
            .unwrap_err(),
    );
    assert!(status == 409 && said.contains("1 rows"), "{status} {said}");
    business.comes_back().await;
    business.until(1, "awaiting_approval").await;
    business.until(2, "awaiting_approval").await;
    world.approve(&build).await;
    business.until(1, "deployed").await;
    assert_eq!(
        business.history(1).await,
        [
            "queued",
            "building",
            "awaiting_approval",
            "approved",
            "deployed"
        ]
    );
    assert_eq!(business.results(1).await, ["1 pass every file parses"]);
    world.end().await;
}

#[tokio::test]
async fn what_must_be_there_is_named_when_a_table_is_connected() {
    let Some(business) = Business::new().await else {
        return;
    };
    let world = World::new().await;
    let refusal = async |change: &dyn Fn(&mut ConnectTable)| {
        let mut request = business.request();
        change(&mut request);
        let error = world.client.connect_table(&request).await.unwrap_err();
        let problem = error.problem().unwrap();
        assert!(
            !serde_json::to_string(problem).unwrap().contains("s3cret"),
            "{problem:?}"
        );
        (
            problem.status,
            format!("{} {:?}", problem.detail, problem.errors),
        )
    };
    for (reference, status, says) in [
        (
            "postgres://ann:s3cret@db/api_business",
            422,
            "never given itself",
        ),
        ("s3cret", 422, "never given itself"),
        ("env:NO_SUCH_VARIABLE", 409, "NO_SUCH_VARIABLE"),
        ("file:/no/such/file", 409, "No such file"),
    ] {
        let (is, said) = refusal(&|request| request.reference = reference.into()).await;
        assert!(
            is == status && said.contains(says),
            "{reference}: {is} {said}"
        );
    }
    let (status, said) =
        refusal(&|request| request.table = "ideas; DROP TABLE automation_ideas".into()).await;
    assert!(
        status == 422 && said.contains("not the name of a table"),
        "{said}"
    );
    let (status, said) = refusal(&|request| request.results_table = "results".into()).await;
    assert!(
        status == 409 && said.contains("there is no table results"),
        "{said}"
    );
    business
        .sql("ALTER TABLE automation_ideas RENAME COLUMN priority TO prio")
        .await;
    business
        .sql("REVOKE INSERT (execution_log) ON agent_test_results FROM builder_user")
        .await;
    let (status, said) = refusal(&|_| {}).await;
    assert_eq!(status, 409);
    for says in [
        "lacks the column priority",
        "the right to INSERT execution_log of agent_test_results",
    ] {
        assert!(said.contains(says), "{said}");
    }
    business
        .sql("ALTER TABLE automation_ideas RENAME COLUMN prio TO priority")
        .await;
    business
        .sql("GRANT INSERT (execution_log) ON agent_test_results TO builder_user")
        .await;
    business.goes_away().await;
    let (status, said) = refusal(&|_| {}).await;
    assert!(
        status == 503 && said.contains("cannot be connected now"),
        "{status} {said}"
    );
    business.comes_back().await;
    assert!(
        world
            .client
            .connected_tables()
            .await
            .unwrap()
            .items
            .is_empty()
    );

    business.connected(&world).await;
    let (status, said) = refusal(&|_| {}).await;
    assert!(
        status == 409 && said.contains("is that table already"),
        "{said}"
    );
    business
        .sql(
            "CREATE TABLE more (LIKE automation_ideas INCLUDING ALL);
        GRANT SELECT, UPDATE ON more TO builder_user",
        )
        .await;
    let more = ConnectTable {
        table: "public.more".into(),
        name: Some(Slug::parse("more").unwrap()),
        ..business.request()
    };
    assert_eq!(
        world
            .client
            .connect_table(&more)
            .await
            .unwrap()
            .name
            .as_str(),
        "more"
    );
    assert_eq!(
        world.client.connected_tables().await.unwrap().items.len(),
        2
    );
    world.client.disconnect_table("more").await.unwrap();
    let (status, _) = refused(&world.client.disconnect_table("more").await.unwrap_err());
    assert_eq!(status, 404);
    world.end().await;
}

#[tokio::test]
async fn the_address_of_a_database_may_stand_in_vault() {
    let Some(business) = Business::new().await else {
        return;
    };
    business.row("Notes", "zip the notes").await;
    let vault = agentwright_testkit::FakeVault::start().await;
    vault.put(
        "secret/team/business",
        serde_json::json!({"url": business.url}),
    );
    let file = |name: &str, text: &str| {
        let path = business.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let settings = agentwright_server::VaultConfig {
        role_id: file("role-id", agentwright_testkit::FakeVault::ROLE_ID),
        secret_id: file("secret-id", agentwright_testkit::FakeVault::SECRET_ID),
        keep_s: 0,
        ..agentwright_server::VaultConfig::new(vault.url())
    };
    let world = World::with(|config| config.settings.vault = Some(settings)).await;
    let request = |field: &str| ConnectTable {
        reference: format!("vault:secret/team/business#{field}"),
        ..business.request()
    };
    let connect = async |field: &str| world.client.connect_table(&request(field)).await;
    let (status, said) = refused(&connect("password").await.unwrap_err());
    assert!(
        status == 409 && said.contains("has no field password"),
        "{status} {said}"
    );
    vault.seal(true);
    let (status, said) = refused(&connect("url").await.unwrap_err());
    assert!(
        status == 409 && said.contains("Vault is sealed: unseal it"),
        "{status} {said}"
    );
    vault.seal(false);
    eventually(
        "what was said of a sealed one is no longer believed",
        async || connect("url").await.ok(),
    )
    .await;
    business.until(1, "awaiting_approval").await;
    let shown = serde_json::to_string(&table(&world).await).unwrap();
    assert!(
        shown.contains("vault:secret/team/business#url") && !shown.contains("builder_user"),
        "{shown}"
    );
    world.end().await;
}

#[tokio::test]
async fn a_claim_that_was_cut_off_is_made_sure_of_after_a_restart() {
    let Some(business) = Business::new().await else {
        return;
    };
    business.row("Done", "zip the notes").await;
    business.row("Undone", "zip the letters").await;
    let world = World::with(|config| config.settings.queue.heartbeat_s = 86_400).await;
    business
        .sql("UPDATE automation_ideas SET status = 'idea'")
        .await;
    let connected = business.connected(&world).await;
    eventually("it was looked at", async || table(&world).await.looked_at).await;
    business
        .sql("UPDATE automation_ideas SET status = 'ready_to_build'")
        .await;
    // As a process leaves it that dies right before, and right after, its commit.
    let address = agentwright_backlog::Address::parse(&business.url).unwrap();
    for (id, commits) in [(1_i64, true), (2, false)] {
        let tables = agentwright_backlog::Tables {
            ideas: "automation_ideas".parse().unwrap(),
            results: "agent_test_results".parse().unwrap(),
        };
        let mut backlog = agentwright_backlog::Backlog::open(&address, tables)
            .await
            .unwrap();
        let change = agentwright_backlog::Change {
            id,
            from: agentwright_backlog::BuilderStatus::NotStarted,
            to: vec![agentwright_backlog::BuilderStatus::Queued],
            lines: Vec::new(),
        };
        let agentwright_backlog::Writing::Ready(write) = backlog.write(&change).await.unwrap()
        else {
            panic!("not ready");
        };
        let (label, text) = [
            ("agent-1-done", "zip the notes"),
            ("agent-2-undone", "zip the letters"),
        ][usize::try_from(id - 1).unwrap()];
        let row = agentwright_store::KnownRow {
            source: connected.name.clone(),
            id,
            label: Slug::parse(label).unwrap(),
            run: Some(agentwright_domain::ids::RunId::new(world.store().new_id())),
            open: true,
            known: serde_json::json!({
                "hold": "seen", "stands": "not_started", "lines": 0,
                "said": {"name": label, "task_description": text, "type": "script", "infrastructure_requirement": null},
                "pending": {"ticket": write.ticket(), "hold": "mine", "stands": "queued", "lines": 0},
            }),
            revision: 0,
        };
        assert!(
            world
                .store()
                .put_backlog_row(&OrgScope::local(), &row)
                .await
                .unwrap()
        );
        if commits {
            write.commit().await.unwrap();
        } else {
            write.undo().await;
        }
    }
    let world = world.restarted().await;
    for (id, label) in [(1, "agent-1-done"), (2, "agent-2-undone")] {
        waiting(&world, label).await;
        business.until(id, "awaiting_approval").await;
        let history = business.history(id).await;
        assert_eq!(
            history[history.len() - 3..],
            ["queued", "building", "awaiting_approval"],
            "{label}"
        );
        assert_eq!(
            history.iter().filter(|one| *one == "queued").count(),
            1,
            "{label}"
        );
    }
    let query = agentwright_api::BuildQuery::default();
    assert_eq!(world.client.builds(&query).await.unwrap().items.len(), 2);
    world.end().await;
}
