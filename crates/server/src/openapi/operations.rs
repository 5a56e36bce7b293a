//! Every operation: method, path, what goes in and what comes out.

use super::{Answer, Operation};
use agentwright_api as wire;
use agentwright_api::executor as seed;
use axum::http::Method;

const EVENTS: &str = "text/event-stream";
const OCTETS: &str = "application/octet-stream";
const METRICS: &str = "application/openmetrics-text";

/// All of them.
pub(super) fn all() -> Vec<Operation> {
    let mut all = seeds();
    all.extend(contract());
    all.extend(builds());
    all.extend(made());
    all.extend(deployments());
    all.extend(queue());
    all.extend(backlogs());
    all.extend(rest());
    all.extend(access());
    all
}

fn get(path: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::GET, path, summary)
}

fn post(path: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::POST, path, summary)
}

fn delete(path: &'static str, summary: &'static str) -> Operation {
    Operation::new(Method::DELETE, path, summary)
}

fn seeds() -> Vec<Operation> {
    vec![
        post("/executor/build-droplet", "Builds what an intent asks for")
            .body::<seed::BuildDroplet>()
            .repeatable()
            .answers::<seed::Accepted>(202),
        get("/executor/builds", "Builds, newest first")
            .query::<seed::JobQuery>()
            .answers::<Vec<seed::Job>>(200),
        delete("/executor/builds/{build_id}", "Cancels a build")
            .body::<seed::CancelJob>()
            .answers::<seed::Cancelled>(200),
        get("/executor/builds/{build_id}/status", "How a build stands").answers::<seed::Job>(200),
        get(
            "/executor/builds/{build_id}/stream",
            "Progress over a WebSocket, from the first event or after one",
        )
        .query::<seed::StreamQuery>()
        .answer(101, Answer::WebSocket),
        post(
            "/executor/builds/{build_id}/approve",
            "Says yes or no at a gate",
        )
        .body::<seed::Approve>()
        .answers::<seed::Approved>(200),
        post("/executor/builds/{build_id}/cancel", "Cancels a build")
            .body::<seed::CancelJob>()
            .answers::<seed::Cancelled>(200),
        post("/executor/builds/{build_id}/retry", "Builds it once more")
            .query::<seed::RetryJob>()
            .repeatable()
            .answers::<seed::Accepted>(202),
        get("/executor/health", "Whether builds can be made")
            .open()
            .answers::<seed::ExecutorHealth>(200)
            .answers::<seed::ExecutorHealth>(500),
        get(
            "/executor/capabilities",
            "What can be built, by whom, where to",
        )
        .answers::<seed::ExecutorCapabilities>(200),
    ]
}

fn contract() -> Vec<Operation> {
    vec![
        get("/health", "Whether the service works")
            .open()
            .answers::<seed::ContractHealth>(200)
            .answers::<seed::ContractHealth>(500),
        get("/capabilities", "What the service can do").answers::<seed::ContractCapabilities>(200),
        get("/state", "What the service does and uses").answers::<seed::ContractState>(200),
        get("/dependencies", "What the service stands on").answers::<seed::Dependencies>(200),
        post(
            "/message",
            "Takes note, answers a query, or does what a signed command says",
        )
        .body::<seed::Message>()
        .refuses(404)
        .refuses(409)
        .answers::<seed::MessageReply>(200),
        get("/metrics", "Counters for Prometheus").answer(200, Answer::Other(METRICS)),
    ]
}

fn builds() -> Vec<Operation> {
    vec![
        get("/api/v1/builds", "Builds, newest first")
            .query::<wire::BuildQuery>()
            .answers::<wire::Page<wire::BuildSummary>>(200),
        post("/api/v1/builds", "Submits a build")
            .body::<wire::CreateBuild>()
            .repeatable()
            .answers::<wire::Build>(202),
        get(
            "/api/v1/builds/{id}",
            "A build with everything that its stages left",
        )
        .query::<wire::ShowQuery>()
        .answers::<wire::BuildDetail>(200),
        get(
            "/api/v1/builds/{id}/events",
            "A build's events, as a page, a stream or a WebSocket",
        )
        .query::<wire::EventQuery>()
        .answers::<wire::Page<wire::CloudEvent>>(200)
        .answer(200, Answer::Other(EVENTS))
        .answer(101, Answer::WebSocket),
        get("/api/v1/builds/{id}/logs", "Everything that a build said").answers::<wire::Log>(200),
        post("/api/v1/builds/{id}/decisions", "Says yes or no at a gate")
            .body::<wire::DecisionRequest>()
            .guarded()
            .answers::<wire::Build>(200),
        post("/api/v1/builds/{id}/cancel", "Cancels a build")
            .body::<wire::CancelRequest>()
            .guarded()
            .answers::<wire::Build>(200),
        post(
            "/api/v1/builds/{id}/resume",
            "Lets a build go on whose budget was raised",
        )
        .guarded()
        .answers::<wire::Build>(200),
        get("/api/v1/builds/{id}/replay", "How a replay came out").answers::<wire::Replayed>(200),
        post(
            "/api/v1/builds/{id}/replay",
            "Builds it again from its recorded answers",
        )
        .repeatable()
        .answers::<wire::Build>(202),
        post("/api/v1/builds/{id}/retry", "Builds it once more")
            .body::<wire::RetryBuild>()
            .repeatable()
            .answers::<wire::Build>(202),
        post(
            "/api/v1/builds/{id}/deploy",
            "Deploys what a build made, through its own gate",
        )
        .body::<wire::DeployBuild>()
        .repeatable()
        .answers::<wire::Build>(202),
        get(
            "/api/v1/approvals",
            "Builds that wait for a yes, newest first",
        )
        .query::<wire::WaitingQuery>()
        .answers::<wire::Page<wire::Build>>(200),
    ]
}

fn made() -> Vec<Operation> {
    vec![
        get("/api/v1/builds/{id}/artifacts", "What was kept")
            .answers::<wire::Page<wire::Artifact>>(200),
        get(
            "/api/v1/builds/{id}/artifacts/{name}",
            "The bytes of one artifact",
        )
        .answer(200, Answer::Other(OCTETS)),
        get("/api/v1/builds/{id}/stages", "Each ended try of a stage")
            .answers::<wire::Page<wire::StageResult>>(200),
        get("/api/v1/builds/{id}/evidence", "Each level's result")
            .answers::<wire::Page<wire::LevelResult>>(200),
        get("/api/v1/builds/{id}/approvals", "Each decision")
            .answers::<wire::Page<wire::Approval>>(200),
        get(
            "/api/v1/builds/{id}/transcripts",
            "What coders said and did, as artifacts",
        )
        .answers::<wire::Page<wire::Artifact>>(200),
        get(
            "/api/v1/builds/{id}/commits",
            "The commits of its repository, newest first",
        )
        .answers::<wire::Page<wire::Commit>>(200),
        get("/api/v1/builds/{id}/files", "The files at a commit")
            .query::<wire::FilesQuery>()
            .answers::<wire::Page<wire::FileEntry>>(200),
        get("/api/v1/builds/{id}/files/{*path}", "The bytes of one file")
            .query::<wire::FilesQuery>()
            .refuses(413)
            .answer(200, Answer::Other(OCTETS)),
        get(
            "/api/v1/builds/{id}/diff",
            "What differs between two commits",
        )
        .query::<wire::DiffQuery>()
        .answers::<wire::Diff>(200),
    ]
}

fn deployments() -> Vec<Operation> {
    vec![
        get("/api/v1/deployments", "Deployments, by name")
            .answers::<wire::Page<wire::Deployment>>(200),
        get(
            "/api/v1/deployments/{name}",
            "A deployment with its versions",
        )
        .answers::<wire::DeploymentDetail>(200),
        delete("/api/v1/deployments/{name}", "Takes a deployment away")
            .guarded()
            .answers::<wire::Removed>(200),
        get(
            "/api/v1/deployments/{name}/executions",
            "Executions, newest first",
        )
        .query::<wire::ExecutionQuery>()
        .answers::<wire::Page<wire::Execution>>(200),
        get("/api/v1/deployments/{name}/logs", "What an execution wrote")
            .query::<wire::LogQuery>()
            .answers::<wire::ExecutionLog>(200),
        post("/api/v1/deployments/{name}/run-now", "Fires once").answers::<wire::Execution>(202),
        post(
            "/api/v1/deployments/{name}/pause",
            "Fires no more until it is resumed",
        )
        .body::<wire::PauseRequest>()
        .guarded()
        .answers::<wire::Deployment>(200),
        post("/api/v1/deployments/{name}/resume", "Fires again")
            .guarded()
            .answers::<wire::Deployment>(200),
        post(
            "/api/v1/deployments/{name}/stop",
            "Ends what runs and fires no more",
        )
        .guarded()
        .answers::<wire::Deployment>(200),
        post(
            "/api/v1/deployments/{name}/rollback",
            "Makes another version the active one",
        )
        .body::<wire::RollbackRequest>()
        .guarded()
        .answers::<wire::Deployment>(200),
        post(
            "/api/v1/deployments/{name}/export",
            "Writes a directory that works alone",
        )
        .body::<wire::ExportRequest>()
        .answers::<wire::Export>(200),
        get("/api/v1/executions/{id}", "An execution")
            .query::<wire::WaitQuery>()
            .answers::<wire::Execution>(200),
        get(
            "/api/v1/executions/{id}/events",
            "An execution's events, as a page, a stream or a WebSocket",
        )
        .query::<wire::EventQuery>()
        .answers::<wire::Page<wire::CloudEvent>>(200)
        .answer(200, Answer::Other(EVENTS))
        .answer(101, Answer::WebSocket),
    ]
}

fn access() -> Vec<Operation> {
    vec![
        get("/api/v1/me", "Who asks").answers::<wire::Me>(200),
        get("/api/v1/keys", "Keys, without their secrets").answers::<wire::Page<wire::Key>>(200),
        post("/api/v1/keys", "Makes a key; its secret is shown this once")
            .body::<wire::CreateKey>()
            .refuses(404)
            .refuses(409)
            .answers::<wire::CreatedKey>(201),
        delete("/api/v1/keys/{id}", "Revokes a key").answers::<wire::Key>(200),
        post("/api/v1/login-codes", "A code to log in with, once")
            .body::<wire::CreateLoginCode>()
            .refuses(409)
            .answers::<wire::LoginCode>(201),
        get("/api/v1/sessions", "Browsers that are logged in")
            .answers::<wire::Page<wire::SessionInfo>>(200),
        delete("/api/v1/sessions/{id}", "Ends a session").answers::<wire::SessionInfo>(200),
        get("/api/v1/organizations", "Organizations of this server")
            .answers::<wire::Page<wire::Organization>>(200),
        post("/api/v1/organizations", "Makes an organization")
            .body::<wire::CreateOrganization>()
            .refuses(409)
            .answers::<wire::Organization>(201),
        delete(
            "/api/v1/organizations/{id}",
            "Deletes an organization with everything of it",
        )
        .answers::<wire::DeletedOrganization>(200),
        post(
            "/api/v1/organizations/{id}/login-codes",
            "A code for one login of an admin of the organization",
        )
        .refuses(409)
        .answers::<wire::LoginCode>(201),
        get("/api/v1/audit", "The audit trail, newest first")
            .query::<wire::AuditQuery>()
            .answers::<wire::Page<wire::AuditEntry>>(200),
        get("/api/v1/audit/verify", "Whether the audit trail is whole")
            .answers::<wire::AuditReport>(200),
    ]
}

fn rest() -> Vec<Operation> {
    vec![
        get("/api/v1/openapi.json", "This document").answer(200, Answer::Other("application/json")),
        get("/api/v1/health", "The daemon").answers::<wire::Health>(200),
        get("/api/v1/doctor", "What the machine can do").answers::<wire::Doctor>(200),
        post("/api/v1/daemon/stop", "Stops the daemon").answers::<wire::Health>(202),
        post("/api/v1/plans", "What would be built, without building it")
            .body::<wire::PlanRequest>()
            .answers::<wire::Plan>(200),
        get(
            "/api/v1/events",
            "Everything in the organization, as a stream",
        )
        .query::<wire::FollowQuery>()
        .answers::<wire::Cursor>(200)
        .answer(200, Answer::Other(EVENTS)),
        post("/api/v1/snapshots", "A copy of the database for a backup")
            .refuses(409)
            .answers::<wire::Snapshot>(201),
        get("/api/v1/services", "The service directory").answers::<wire::Page<wire::Service>>(200),
        get("/api/v1/costs", "What models took")
            .query::<wire::CostQuery>()
            .refuses(404)
            .refuses(409)
            .answers::<wire::Page<wire::Cost>>(200),
        get("/api/v1/budgets", "What models may take")
            .query::<wire::BudgetQuery>()
            .refuses(404)
            .refuses(409)
            .answers::<wire::Page<wire::BudgetNow>>(200),
        post("/api/v1/budgets/{scope}", "Sets a budget")
            .body::<wire::SetBudget>()
            .answers::<wire::Page<wire::BudgetNow>>(200),
    ]
}

fn queue() -> Vec<Operation> {
    vec![
        get(
            "/api/v1/queue",
            "The queue of builds that start by themselves",
        )
        .answers::<wire::Page<wire::QueueItem>>(200),
        post("/api/v1/queue", "Adds items to the queue; all or none")
            .body::<wire::QueueAdds>()
            .refuses(409)
            .answers::<wire::Page<wire::QueueItem>>(201),
        post(
            "/api/v1/hooks/{id}",
            "Adds an item, signed as Standard Webhooks has it; it needs no key",
        )
        .open()
        .body::<wire::QueueAdd>()
        .refuses(401)
        .answers::<wire::HookTaken>(200)
        .answers::<wire::HookTaken>(201),
        get(
            "/api/v1/report",
            "What was built in a time, what is being built, what waits",
        )
        .query::<wire::ReportQuery>()
        .refuses(404)
        .answers::<wire::Report>(200),
        post("/api/v1/queue/import", "Adds the items of a file")
            .body::<wire::QueueImport>()
            .refuses(409)
            .answers::<wire::QueueImported>(201),
        get("/api/v1/queue/{label}", "Why an item started or did not")
            .refuses(404)
            .answers::<wire::QueueWhy>(200),
        post("/api/v1/queue/{label}", "Changes an item")
            .body::<wire::QueueChange>()
            .refuses(404)
            .refuses(409)
            .answers::<wire::QueueItem>(200),
        post(
            "/api/v1/queue/{label}/remove",
            "Removes an item; its build goes on",
        )
        .refuses(404)
        .answers::<wire::QueueItem>(200),
        get(
            "/api/v1/heartbeat",
            "When the queue is looked at, and the last looks",
        )
        .answers::<wire::Heartbeat>(200),
        post("/api/v1/heartbeat", "Looks at the queue now")
            .body::<wire::BeatRequest>()
            .answers::<wire::Beat>(200),
    ]
}

fn backlogs() -> Vec<Operation> {
    vec![
        get(
            "/api/v1/backlogs",
            "Tables of people's own databases that are built from",
        )
        .answers::<wire::Page<wire::ConnectedTable>>(200),
        post(
            "/api/v1/backlogs",
            "Connects a table, once everything is there",
        )
        .body::<wire::ConnectTable>()
        .refuses(409)
        .answers::<wire::ConnectedTable>(201),
        post(
            "/api/v1/backlogs/{name}/remove",
            "Disconnects a table; its database is left as it is",
        )
        .refuses(404)
        .refuses(409)
        .answers::<wire::ConnectedTable>(200),
    ]
}
