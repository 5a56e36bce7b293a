//! Pages with something on them, each text of which comes from one place: honest words, or an attack.

use agentwright_api::{
    ActivityNow, Approval, Artifact, BudgetNow, Build, BuildDetail, BuildState, BuildStatus,
    BuildSummary, Check, CheckStatus, Choice, ConnectedTable, Cost, Deployed, Deployment,
    DeploymentDetail, Difference, Digests, Doctor, Event, Execution, ExecutionStatus, Health,
    Heartbeat, HeartbeatLook, LevelResult, Missing, Plan, PlanVerdict, QueueItem, QueuePriority,
    QueueProgress, QueueSuggestion, Receipt, Report, ReportBuild, ReportCause, ReportDay,
    ReportTotals, Service, StageResult, TableRow, Time, Version,
};
use agentwright_domain::approval::{Gate, GateReason, Subject};
use agentwright_domain::build::{ApprovalMode, FailureClass};
use agentwright_domain::digest::Digest;
use agentwright_domain::evidence::{Level, Verdict};
use agentwright_domain::execution::Firing;
use agentwright_domain::ids::{ApprovalId, RunId, Slug};
use agentwright_domain::run::Usage;
use agentwright_domain::spec::{AutomationKind, Permissions, Trigger};
use agentwright_domain::spend::{Amount, BudgetScope};
use agentwright_pages::*;
use serde_json::json;

/// The moment at which all pages are looked at.
pub(crate) const NOW: i64 = 1_795_298_400_000;
const MINUTE: i64 = 60_000;
const DAY: i64 = 86_400_000;

/// Where texts come from.
#[derive(Clone, Copy)]
pub(crate) struct Texts {
    /// Put around every free text.
    pub(crate) attack: &'static str,
}

impl Texts {
    fn say(self, text: &str) -> String {
        format!("{text}{}", self.attack)
    }
}

pub(crate) fn shell(here: &str) -> Shell {
    Shell {
        base: "/".into(),
        here: here.into(),
        csrf: "csrf-token".into(),
        cursor: "feed.7".into(),
        who: "ann".into(),
        session: true,
        waiting: 2,
        now_ms: NOW,
        version: "0.1.0".into(),
        boot: "boot-1".into(),
    }
}

fn item(texts: Texts, label: &str, status: &str, decision: &str) -> QueueItem {
    QueueItem {
        label: slug(label),
        name: texts.say(label),
        description: Some(texts.say("a playlist of the liked songs")),
        priority: QueuePriority::Medium,
        status: status.into(),
        position: (status != "done").then_some(1),
        blockers: vec![texts.say("the key of Ann")],
        start: Some(texts.say("2026-11-22 09:00")),
        approved_by: None,
        build: (status != "queued").then(|| id(3)),
        failures: u32::from(status == "failed"),
        why: Some(Receipt {
            decision: decision.into(),
            words: texts.say("it needs a person's yes: it may destroy something"),
            detail: json!({}),
            since: ago(12),
            last: ago(1),
            looks: 3,
        }),
        progress: (status == "building").then(|| QueueProgress {
            phase: texts.say("Build"),
            percent: 40,
            expected: Some(ago(-30)),
            verdict: "hung".into(),
            because: Some(texts.say("the model has sent nothing for 10 minutes")),
            last: ago(14),
        }),
        suggestion: (status == "queued").then(|| QueueSuggestion {
            priority: QueuePriority::High,
            words: texts.say("4 of 4 done items like it were high: one, two, three, …"),
        }),
    }
}

fn heartbeat(late: bool) -> Heartbeat {
    Heartbeat {
        every_s: 1_800,
        off_hours: ["22:00".into(), "06:00".into(), "Europe/Berlin".into()],
        limit: 1,
        late,
        looks: vec![HeartbeatLook {
            at: ago(4),
            cause: "time".into(),
            items: 4,
            started: 1,
        }],
    }
}

fn queue(texts: Texts) -> QueueGiven {
    QueueGiven {
        items: vec![
            item(texts, "spotify", "building", "start"),
            item(texts, "clean-up", "queued", "risk"),
            item(texts, "newsletter", "failed", "escalated"),
            item(texts, "notes-zip", "done", "done"),
        ],
        tables: vec![table(texts)],
        heartbeat: heartbeat(true),
        typed: QueueTyped {
            name: texts.say("Notes"),
            description: texts.say("every night"),
            criteria: texts.say("it is there"),
            priority: "low".into(),
            estimate: texts.say("4 hours"),
            blockers: texts.say("nothing"),
            start: texts.say("soon"),
        },
        said: Some(texts.say("It is in the queue.")),
        problem: Some(texts.say("start: must be a time")),
    }
}

fn table(texts: Texts) -> ConnectedTable {
    let row = |at: i64, status: &str| TableRow {
        id: at,
        label: slug("ideas"),
        name: texts.say("Invoice reminder"),
        kind: "script".into(),
        builder_status: status.into(),
        to_write: at == 2,
        build: (at > 1).then(|| id(4)),
        why: item(texts, "invoices", "queued", "limit").why,
    };
    let all = [
        "not_started",
        "building",
        "awaiting_approval",
        "failed",
        "deployed",
    ];
    ConnectedTable {
        name: slug("ideas"),
        reference: texts.say("env:IDEAS"),
        table: texts.say("automation_ideas"),
        results_table: "agent_test_results".into(),
        connected_by: texts.say("ann"),
        connected_at: ago(900),
        looked_at: Some(ago(3)),
        failures: 1,
        error: Some(texts.say("the database does not answer")),
        rows: (1..).zip(all).map(|(at, status)| row(at, status)).collect(),
    }
}

fn queue_empty() -> QueueGiven {
    QueueGiven {
        items: Vec::new(),
        tables: Vec::new(),
        heartbeat: heartbeat(false),
        typed: QueueTyped::default(),
        said: None,
        problem: None,
    }
}

fn report(texts: Texts) -> Report {
    Report {
        night: Some("2026-11-21".into()),
        from: ago(2 * 1_440),
        to: ago(0),
        zone: "Europe/Berlin".into(),
        ended: vec![ReportBuild {
            build: id(4),
            label: slug("notes-zip"),
            status: "completed".into(),
            ended_at: ago(90),
            took_s: 16_200,
            worked_s: 15_000,
            estimated_s: Some(14_400),
            micro_usd: 1_230_000,
            cpu_ms: 61_000,
            memory_bytes: 52_000_000,
            disk_bytes: 4_000_000,
            outcome: texts.say("deployed as notes-zip"),
            link: None,
        }],
        active: vec![item(texts, "spotify", "building", "start")],
        queue: vec![item(texts, "clean-up", "queued", "risk")],
        causes: vec![ReportCause {
            cause: texts.say("verify: tests"),
            builds: 2,
        }],
        totals: ReportTotals {
            completed: 1,
            failed: 2,
            success_percent: Some(33),
            ..ReportTotals::default()
        },
        days: vec![ReportDay {
            date: "2026-11-21".into(),
            completed: 1,
            failed: 2,
            cancelled: 0,
            worked_s: 15_000,
            micro_usd: 1_230_000,
            cpu_ms: 61_000,
            memory_bytes: 52_000_000,
            disk_bytes: 4_000_000,
        }],
        markdown: String::new(),
    }
}

fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

fn digest(byte: u8) -> Digest {
    Digest::from_sha256([byte.wrapping_mul(37).wrapping_add(byte); 32])
}

fn id(n: u32) -> RunId {
    RunId::new(format!("0193f2a0-7b1c-7cc0-8000-{n:012}"))
}

fn ago(minutes: i64) -> Time {
    Time::from_ms(NOW - minutes * MINUTE)
}

pub(crate) fn permissions(texts: Texts) -> Permissions {
    serde_json::from_value(json!({
        "folders": [
            { "name": "source", "path": texts.say("/home/ann/notes"), "access": "read" },
            { "name": "target", "path": texts.say("/home/ann/backups"), "access": "write", "create": true },
        ],
        "network": ["api.example.org:443"],
        "programs": [texts.say("psql")],
        "secrets": [{ "variable": "TOKEN", "reference": texts.say("env:TOKEN") }],
    }))
    .unwrap()
}

fn summary(n: u32, label: &str, status: BuildStatus, stage: &str, minutes: i64) -> BuildSummary {
    BuildSummary {
        id: id(n),
        label: slug(label),
        status,
        stage: stage.into(),
        attempt: 1 + n % 2,
        priority: 0,
        created_at: ago(minutes + 3),
        started_at: Some(ago(minutes + 2)),
        progress_at: ago(minutes),
        ended_at: status.ended().then(|| ago(minutes)),
        not_before: None,
        worked_ms: 4_200 + i64::from(n) * 1_730,
        repeats: None,
    }
}

pub(crate) fn summaries() -> Vec<BuildSummary> {
    let of = [
        ("notes-backup", BuildStatus::Waiting, "deploy gate", 4),
        ("invoice-digest", BuildStatus::Running, "verify", 0),
        ("webhook-inbox", BuildStatus::Queued, "spec", 1),
        ("feed-digest", BuildStatus::Completed, "completed", 42),
        ("url-watch", BuildStatus::Failed, "verify", 75),
        ("sales-report", BuildStatus::Completed, "completed", 130),
        ("tidy-downloads", BuildStatus::Rejected, "deploy gate", 400),
        ("log-digest", BuildStatus::Cancelled, "cancelled", 1500),
        ("orders-export", BuildStatus::Completed, "completed", 3000),
    ];
    (1..)
        .zip(of)
        .map(|(n, (label, status, stage, minutes))| summary(n, label, status, stage, minutes))
        .collect()
}

pub(crate) fn ask(texts: Texts, n: u32, label: &str) -> Ask {
    Ask {
        id: id(n).as_str().into(),
        label: label.into(),
        intent: texts
            .say("every night, keep a zip of the folder ~/notes in ~/backups and keep the last 7"),
        gate: Gate::Deploy,
        reasons: vec![
            GateReason::Mode,
            GateReason::Risk(texts.say("it deletes files older than the last 7 zips")),
        ],
        subject: Some(subject()),
        since: ago(4),
        purpose: Some(texts.say(
            "Keeps the last 7 zips of /home/ann/notes in /home/ann/backups, every day at 00:00.",
        )),
        runs: Some(texts.say("every day at 00:00 (Europe/Berlin)")),
        target: "this server, behind the walls of its sandbox".into(),
        permissions: Some(permissions(texts)),
        preview: vec![
            texts.say("would write /data/backups/notes-2026-11-21.zip (12 files, 84 kB)"),
            texts.say("would delete nothing: 3 of 7 zips are there"),
        ],
        levels: levels(texts, 1),
        csrf: "csrf-token".into(),
        may_decide: true,
    }
}

fn subject() -> Subject {
    Subject {
        spec: digest(1),
        code: Some(digest(2)),
        evidence: Some(digest(3)),
        target: digest(4),
        policy: digest(5),
        digest: digest(6),
    }
}

fn levels(texts: Texts, attempt: u32) -> Vec<LevelResult> {
    [Level::Structure, Level::Deployment, Level::Smoke, Level::Assertion]
        .into_iter()
        .map(|level| LevelResult {
            attempt,
            number: level.number(),
            level,
            verdict: Verdict::Pass,
            summary: texts.say(match level {
                Level::Fault | Level::Structure => "2 files parse, the command starts with python3",
                Level::Deployment => "the place is made, every declared folder is there",
                Level::Smoke => "ends with 0 on an empty folder",
                Level::Assertion => "7 of 7 probes hold in 3 cases; nothing else was touched",
            }),
            log: texts.say("case keeps-seven: 9 files\n  zip_contains notes/a.txt: holds\n  file_count *.zip = 7: holds\n"),
            evidence: vec![Artifact {
                name: texts.say("case-1-after.json"),
                digest: digest(9),
                bytes: 14_210,
            }],
            duration_ms: 412 * u64::from(level.number()),
            cpu_ms: 130,
            max_rss_bytes: 21_400_000,
            tier: "full".into(),
        })
        .collect()
}

fn stage(texts: Texts, stage: &str, status: &str, attempt: u32, minutes: i64) -> StageResult {
    StageResult {
        stage: stage.into(),
        attempt,
        status: status.into(),
        started_at: ago(minutes + 1),
        ended_at: ago(minutes),
        duration_ms: 840 + minutes * 31,
        summary: texts.say(match stage {
            "spec" => "folder-backup covers it; acceptance sealed",
            "generate" => "3 files from the foundation folder-backup",
            "verify" => "4 of 4 levels hold",
            _ => "done",
        }),
    }
}

pub(crate) fn build(texts: Texts, state: BuildState, at: &str) -> Build {
    let deployed = matches!(state, BuildState::Completed).then(|| Deployed {
        name: slug("notes-backup"),
        version: 2,
        url: Some(texts.say("http://127.0.0.1:8700")),
    });
    Build {
        id: id(1),
        label: slug("notes-backup"),
        stage: at.into(),
        attempt: 1,
        intent: texts
            .say("every night, keep a zip of the folder ~/notes in ~/backups and keep the last 7"),
        name: Some(slug("notes-backup")),
        mode: ApprovalMode::Final,
        auto_deploy: true,
        priority: 0,
        created_at: ago(9),
        started_at: Some(ago(8)),
        progress_at: ago(1),
        ended_at: None,
        worked_ms: 18_400,
        repeats: None,
        changes: None,
        from_version: None,
        deploys: None,
        mends: None,
        deployed,
        state,
    }
}

pub(crate) fn waiting(texts: Texts) -> BuildState {
    BuildState::Waiting {
        gate: Gate::Deploy,
        reasons: vec![GateReason::Risk(texts.say("risk"))],
        subject: Some(subject()),
        since: ago(4),
    }
}

pub(crate) fn failed(texts: Texts) -> BuildState {
    BuildState::Failed {
        class: FailureClass::Tests,
        reason: texts.say("level 4 assertion: zip_contains notes/b.txt does not hold in the case keeps-seven; the zip has notes/a.txt only"),
    }
}

const BEFORE: &str = "#!/usr/bin/env python3\n\"\"\"Keeps zips of a folder.\"\"\"\nimport pathlib\nimport zipfile\n\nKEEP = 5\n\n\ndef main() -> int:\n    source = pathlib.Path(\"/data/source\")\n    name = \"notes.zip\"  # one name for all\n    with zipfile.ZipFile(name, \"w\") as out:\n        for path in source.iterdir():\n            out.write(path)\n    return 0\n";
const AFTER: &str = "#!/usr/bin/env python3\n\"\"\"Keeps the last zips of a folder.\"\"\"\nimport datetime\nimport pathlib\nimport zipfile\n\nKEEP = 7\n\n\ndef main() -> int:\n    source = pathlib.Path(\"/data/source\")\n    name = f\"notes-{datetime.date.today()}.zip\"\n    with zipfile.ZipFile(name, \"w\") as out:\n        for path in sorted(source.rglob(\"*\")):\n            out.write(path, path.relative_to(source))\n    return 0\n";

pub(crate) fn detail(texts: Texts, state: BuildState, at: &str) -> BuildGiven {
    let ask = matches!(state, BuildState::Waiting { .. }).then(|| ask(texts, 1, "notes-backup"));
    let done = ["spec", "package", "generate", "review", "verify", "preview"];
    let mut stages: Vec<StageResult> = (0..)
        .zip(done)
        .map(|(i, name)| stage(texts, name, "done", 1, 8 - i))
        .collect();
    stages.insert(3, stage(texts, "verify", "retried", 1, 5));
    let mut two = levels(texts, 1);
    two[3].verdict = Verdict::Fail;
    two.extend(levels(texts, 2));
    let event = |seq: i64, event: &str, stage: &str, message: &str| Event {
        seq,
        at: ago(9 - seq),
        event: event.into(),
        stage: stage.into(),
        message: texts.say(message),
        data: serde_json::Value::Null,
    };
    BuildGiven {
        ask,
        stalled: Some(texts.say("the model has sent nothing for 12 minutes")),
        events: vec![
            event(1, "run.submitted", "spec", "submitted"),
            event(
                2,
                "stage.done",
                "spec",
                "folder-backup covers it; acceptance sealed",
            ),
            event(3, "progress", "generate", "writing app/main.py"),
            event(
                4,
                "stage.repair",
                "verify",
                "level 4 does not hold: written anew",
            ),
            event(5, "progress", "verify", "level 3 smoke: holds"),
            event(6, "gate.waiting", "deploy gate", "waits for a yes"),
        ],
        costs: vec![
            cost(texts, "code", 3, 42_500),
            cost(texts, "review", 1, 8_100),
        ],
        steps: vec![
            Step {
                title: texts.say("package: spec and its pages"),
                commit: "1f2e3d4".into(),
                changes: vec![Change {
                    path: texts.say("spec.json"),
                    before: None,
                    after: Some(texts.say("{\n  \"name\": \"notes-backup\",\n  \"keep\": 7\n}\n")),
                    binary: false,
                }],
            },
            Step {
                title: texts.say("generate: second try"),
                commit: "9a8b7c6".into(),
                changes: vec![
                    Change {
                        path: "app/main.py".into(),
                        before: Some(BEFORE.into()),
                        after: Some(texts.say(AFTER)),
                        binary: false,
                    },
                    Change {
                        path: texts.say("app/logo.png"),
                        before: None,
                        after: None,
                        binary: true,
                    },
                ],
            },
        ],
        not_before: None,
        coder: Some(texts.say("oneshot with ollama/qwen")),
        said: None,
        problem: None,
        deployable: false,
        detail: BuildDetail {
            build: build(texts, state, at),
            seq: 6,
            stages,
            levels: two,
            approvals: vec![Approval {
                id: ApprovalId::new("a"),
                gate: Gate::Spec,
                subject: digest(7),
                approved: true,
                by: texts.say("ann"),
                at: ago(7),
                notes: Some(texts.say("looks right")),
                in_advance: false,
            }],
            artifacts: vec![Artifact {
                name: texts.say("review.json"),
                digest: digest(8),
                bytes: 2_311,
            }],
            preview: vec![texts.say("would write /data/backups/notes-2026-11-21.zip")],
            risks: Vec::new(),
            digests: Digests {
                spec: Some(digest(1)),
                acceptance: Some(digest(11)),
                permissions: Some(digest(12)),
                code: Some(digest(2)),
                reviewed: Some(digest(2)),
                verified: Some(digest(2)),
                evidence: Some(digest(3)),
            },
            repository: texts.say("/var/lib/agentwright/builds/0193f2a0/repo"),
        },
    }
}

pub(crate) fn cost(texts: Texts, key: &str, calls: i64, micro_usd: i64) -> Cost {
    Cost {
        key: texts.say(key),
        calls,
        input_tokens: 12_400 * calls,
        output_tokens: 1_830 * calls,
        cache_read_tokens: 0,
        cache_write_tokens: 0,
        micro_usd,
        unpriced: i64::from(calls == 1),
        reserved_micro_usd: 0,
    }
}

pub(crate) fn deployment(texts: Texts, name: &str, n: u32) -> Deployment {
    let service = n % 3 == 2;
    Deployment {
        name: slug(name),
        kind: if service {
            AutomationKind::Service
        } else {
            AutomationKind::Script
        },
        purpose: texts.say("Keeps the last 7 zips of /home/ann/notes in /home/ann/backups."),
        version: 1 + n,
        activity: match n % 4 {
            3 => ActivityNow::Paused {
                reason: texts.say("paused by ann"),
                since: ago(90),
            },
            _ => ActivityNow::Active,
        },
        trigger: Trigger::Manual,
        next_due_at: (!service).then(|| Time::from_ms(NOW + i64::from(n + 1) * 83 * MINUTE)),
        current_execution: service.then(|| id(70)),
        endpoint: service.then(|| texts.say("http://127.0.0.1:8700")),
        failures_in_a_row: if n == 1 { 2 } else { 0 },
        deployed_at: ago(3_000),
    }
}

pub(crate) fn deployments(texts: Texts) -> Vec<Deployment> {
    (0..)
        .zip(["notes-backup", "url-watch", "webhook-inbox", "feed-digest"])
        .map(|(n, name)| deployment(texts, name, n))
        .collect()
}

fn execution(texts: Texts, n: u32, status: ExecutionStatus) -> Execution {
    Execution {
        id: id(100 + n),
        deployment: slug("url-watch"),
        version: 2,
        firing: if n == 0 {
            Firing::Manual {
                by: texts.say("ann"),
            }
        } else {
            Firing::Scheduled { due_at_ms: NOW }
        },
        status,
        attempt: 1,
        reason: (status == ExecutionStatus::Failed)
            .then(|| texts.say("exit code 1: ConnectionRefusedError: [Errno 111]")),
        created_at: ago(30 + i64::from(n) * 60),
        started_at: Some(ago(30 + i64::from(n) * 60)),
        ended_at: Some(ago(29 + i64::from(n) * 60)),
        seq: 3,
        usage: Some(Usage {
            wall_ms: 1_240,
            cpu_ms: 300,
            max_rss_bytes: 9_000_000,
        }),
    }
}

pub(crate) fn deployed(texts: Texts) -> DeploymentGiven {
    let version = |n: u32, active: bool| Version {
        version: n,
        active,
        build: id(n),
        code: digest(u8::try_from(n).unwrap()),
        deployed_at: ago(10_000 / i64::from(n)),
        revoked_at: None,
    };
    DeploymentGiven {
        detail: DeploymentDetail {
            deployment: deployment(texts, "url-watch", 1),
            permissions: permissions(texts),
            versions: vec![version(2, true), version(1, false)],
            executions: vec![
                execution(texts, 0, ExecutionStatus::Failed),
                execution(texts, 1, ExecutionStatus::Failed),
                execution(texts, 2, ExecutionStatus::Completed),
                execution(texts, 3, ExecutionStatus::Completed),
            ],
            state_dir: texts.say("/var/lib/agentwright/deployments/url-watch/state"),
        },
        runs: texts.say("every hour (Europe/Berlin)"),
        log: Some((id(100).as_str().into(), texts.say("2026-11-21T22:00:00 looking at https://example.org\nTraceback (most recent call last):\n  ConnectionRefusedError: [Errno 111]\n"))),
        said: None,
        problem: None,
    }
}

pub(crate) fn plan(texts: Texts, verdict: PlanVerdict) -> Plan {
    Plan {
        verdict,
        reason: (verdict == PlanVerdict::Refused)
            .then(|| texts.say("nothing here sends text messages")),
        foundation: Some(texts.say("folder-backup")),
        name: Some(slug("notes-backup")),
        kind: Some(AutomationKind::Script),
        purpose: Some(texts.say(
            "Keeps the last 7 zips of /home/ann/notes in /home/ann/backups, every day at 00:00.",
        )),
        trigger: Some(Trigger::Manual),
        inputs: [
            ("keep".to_owned(), json!(7)),
            ("source".to_owned(), json!(texts.say("/home/ann/notes"))),
        ]
        .into(),
        missing: if verdict == PlanVerdict::Incomplete {
            vec![Missing {
                name: texts.say("target"),
                question: texts.say("Which folder do the zips go to?"),
                examples: vec![texts.say("~/backups")],
            }]
        } else {
            Vec::new()
        },
        permissions: permissions(texts),
        acceptance: None,
        permissions_digest: Some(digest(12)),
        spec: None,
        possible: vec![Choice {
            foundation: texts.say("url-watch"),
            does: texts.say("Watches a page and tells when it changes"),
            example: Some(texts.say("every hour, watch https://example.org")),
        }],
        notes: vec![texts.say("the time zone is Europe/Berlin")],
        differs: vec![Difference {
            at: texts.say("/inputs/keep"),
            before: Some(json!(texts.say("5"))),
            after: Some(json!(texts.say("7"))),
        }],
        from_version: Some(2),
    }
}

fn asked(texts: Texts) -> Asked {
    Asked {
        intent: texts.say("every night, keep a zip of the folder ~/notes"),
        inputs: vec![("target".into(), texts.say("/x"))],
        base_dir: texts.say("/home/ann"),
        zone: texts.say("Europe/Berlin"),
        mode: "final".into(),
        auto_deploy: true,
        production: false,
        changes: texts.say(""),
        label: texts.say(""),
        key: "key".into(),
    }
}

fn days(texts: Texts) -> Vec<Cost> {
    (0..30)
        .map(|day: i64| {
            let date = Time::from_ms(NOW - day * DAY).to_string();
            Cost {
                key: date[..10].into(),
                ..cost(texts, "", 4 + day % 5, (day * 7_919_113) % 3_400_000)
            }
        })
        .collect()
}

fn finished(texts: Texts) -> Vec<Finished> {
    (0..120)
        .map(|n: i64| Finished {
            status: match n % 11 {
                3 => BuildStatus::Failed,
                7 => BuildStatus::Cancelled,
                _ => BuildStatus::Completed,
            },
            stage: texts.say(if n % 2 == 0 { "verify" } else { "spec" }),
            ended_at_ms: NOW - (n * 7 % 30) * DAY,
            worked_ms: 9_000 + n * 613 % 61_000,
            repairs: u32::try_from(n % 4 / 2).unwrap(),
        })
        .collect()
}

fn settings(texts: Texts) -> Settings {
    let check = |name: &str, status, detail: &str, fix: Option<&str>| Check {
        name: texts.say(name),
        status,
        detail: texts.say(detail),
        fix: fix.map(|fix| texts.say(fix)),
    };
    let health = Health {
        status: "healthy".into(),
        service: "agentwright".into(),
        version: "0.1.0".into(),
        pid: 1,
        started_at: ago(700),
        boot_id: "boot".into(),
        data_dir: texts.say("/home/ann/.local/share/agentwright"),
        listen: Some("127.0.0.1:8400".into()),
    };
    let doctor = Doctor {
        status: CheckStatus::Warning,
        checks: vec![
            check("sandbox", CheckStatus::Ok, "tier full", None),
            check("git", CheckStatus::Ok, "git version 2.47.3", None),
            check(
                "models",
                CheckStatus::Warning,
                "no model was found\nfoundations work without one",
                Some("install ollama, or set a key in config.toml"),
            ),
            check(
                "psql",
                CheckStatus::Failed,
                "not found",
                Some("apt install postgresql-client"),
            ),
        ],
    };
    let key = |n: u32, revoked: bool| KeyLine {
        id: format!("key-{n}"),
        prefix: format!("aw_{n}f3a91"),
        name: texts.say("build server"),
        kind: "agent".into(),
        role: "operator".into(),
        created_at: ago(9_000),
        expires_at: Some(Time::from_ms(NOW + 40 * DAY)),
        revoked_at: revoked.then(|| ago(3)),
    };
    Settings::new(
        shell("settings"),
        &health,
        vec![
            ("Builds at once".into(), "3".into()),
            ("Walls".into(), "tier full or better".into()),
        ],
    )
    .with_machine(health, doctor)
    .with_access(
        vec![key(1, false), key(2, true)],
        vec![SessionLine {
            id: "session-1".into(),
            name: texts.say("Ann"),
            role: "admin".into(),
            created_at: ago(90),
            expires_at: Time::from_ms(NOW + 7 * DAY),
            current: true,
        }],
    )
    .with_organizations(vec![OrganizationLine {
        id: "local".into(),
        name: texts.say("Local"),
        current: true,
    }])
    .showing_once(ShownOnce {
        title: texts.say("The new key"),
        words: texts.say("Copy it now."),
        text: texts.say("aw_1234567890_abcdefghijklmnopqrstuvwxyz"),
    })
    .saying(None, Some(texts.say("one thing went wrong")))
}

/// Every page, by a name for its file.
pub(crate) fn all(texts: Texts) -> Vec<(&'static str, String)> {
    let of = |status: BuildStatus| {
        summaries()
            .into_iter()
            .filter(|build| build.status == status)
            .collect::<Vec<_>>()
    };
    let render = |page: &dyn askama_dyn::Rendered| page.html();
    let home = HomeGiven {
        waiting: vec![ask(texts, 1, "notes-backup")],
        spent: Vec::new(),
        running: of(BuildStatus::Running),
        failed: of(BuildStatus::Failed),
        completed: of(BuildStatus::Completed),
        deployments: deployments(texts),
        today_micro_usd: 1_250_000,
        today_limit_micro_usd: Some(20_000_000),
        today_calls: 14,
    };
    let query = BuildsQuery {
        search: texts.say("notes"),
        ..BuildsQuery::default()
    };
    let costs = CostsGiven {
        days: 30,
        by_day: days(texts),
        by_build: vec![
            cost(texts, "notes-backup", 9, 910_000),
            cost(texts, "url-watch", 1, 120),
        ],
        by_role: vec![cost(texts, "code", 9, 910_000)],
        by_model: vec![cost(texts, "ollama/qwen", 9, 0)],
        budgets: BudgetScope::ALL
            .into_iter()
            .map(|scope| BudgetNow {
                scope,
                budget: scope.default_budget(),
                spent: Some(Amount {
                    micro_usd: 1_250_000,
                    ..Amount::default()
                }),
            })
            .collect(),
        said: None,
        problem: Some(texts.say("US dollars must be an amount")),
    };
    let insights = InsightsGiven {
        days: 30,
        finished: finished(texts),
        by_day: days(texts),
    };
    let audit = vec![AuditLine {
        seq: 12,
        at: ago(3),
        who: texts.say("ann"),
        what: texts.say("build.approve"),
        subject: texts.say("notes-backup"),
        detail: texts.say("yes to sha256:12"),
    }];
    let forecast = Forecast {
        builds: 12,
        alike: texts.say("from the foundation folder-backup"),
        paid: 5,
        median_ms: 14_000,
        p90_ms: 41_000,
        median_micro_usd: 12_000,
    };
    let service = Service {
        name: slug("webhook-inbox"),
        kind: AutomationKind::Service,
        purpose: texts.say("Receives webhooks"),
        version: 1,
        endpoint: Some(texts.say("http://127.0.0.1:8700")),
        registered_at: ago(44),
    };
    let matched = |verdict| {
        Some(Matched::new(
            plan(texts, verdict),
            Some(texts.say("every day at 00:00")),
            &asked(texts),
            Some(forecast.clone()),
        ))
    };
    let examples = vec![(
        texts.say("Keeps zips of a folder"),
        texts.say("every night, keep a zip of ./notes in ./backups"),
    )];
    let runs = |list: Vec<Deployment>| {
        list.into_iter()
            .map(|one| (one, texts.say("every day at 00:00")))
            .collect()
    };
    let mut busy = detail(texts, BuildState::Running, "verify");
    busy.detail.stages.truncate(4);
    vec![
        ("home", render(&Home::new(shell(""), home))),
        (
            "home-empty",
            render(&Home::new(shell(""), HomeGiven::default())),
        ),
        (
            "builds",
            render(&Builds::new(
                shell("builds"),
                query,
                summaries(),
                Some("0193f2a0"),
            )),
        ),
        (
            "builds-empty",
            render(&Builds::new(
                shell("builds"),
                BuildsQuery::default(),
                Vec::new(),
                None,
            )),
        ),
        (
            "build-waiting",
            render(&BuildPage::new(
                shell("builds/1"),
                detail(texts, waiting(texts), "deploy gate"),
            )),
        ),
        (
            "build-running",
            render(&BuildPage::new(shell("builds/1"), busy)),
        ),
        (
            "build-failed",
            render(&BuildPage::new(
                shell("builds/1"),
                detail(texts, failed(texts), "verify"),
            )),
        ),
        (
            "build-completed",
            render(&BuildPage::new(
                shell("builds/1"),
                detail(texts, BuildState::Completed, "completed"),
            )),
        ),
        (
            "approvals",
            render(&Approvals::new(
                shell("approvals"),
                vec![ask(texts, 1, "notes-backup"), ask(texts, 2, "url-watch")],
            )),
        ),
        (
            "approvals-empty",
            render(&Approvals::new(shell("approvals"), Vec::new())),
        ),
        (
            "new",
            render(&Fresh::new(
                shell("new"),
                Asked::default(),
                None,
                examples.clone(),
            )),
        ),
        (
            "new-ready",
            render(&Fresh::new(
                shell("new"),
                asked(texts),
                matched(PlanVerdict::Ready),
                examples.clone(),
            )),
        ),
        (
            "new-incomplete",
            render(
                &Fresh::new(
                    shell("new"),
                    asked(texts),
                    matched(PlanVerdict::Incomplete),
                    examples.clone(),
                )
                .refused(
                    texts.say("Something is missing."),
                    vec![
                        ("label".into(), texts.say("is not a name")),
                        ("intent".into(), texts.say("is empty")),
                    ],
                ),
            ),
        ),
        (
            "new-refused",
            render(&Fresh::new(
                shell("new"),
                asked(texts),
                matched(PlanVerdict::Refused),
                examples,
            )),
        ),
        (
            "deployments",
            render(&Deployments::new(
                shell("deployments"),
                runs(deployments(texts)),
                None,
            )),
        ),
        (
            "deployments-empty",
            render(&Deployments::new(shell("deployments"), Vec::new(), None)),
        ),
        (
            "deployment",
            render(&DeploymentPage::new(
                shell("deployments/url-watch"),
                deployed(texts),
            )),
        ),
        (
            "services",
            render(&Services::new(shell("services"), vec![service])),
        ),
        ("queue", render(&Queue::new(shell("queue"), queue(texts)))),
        (
            "queue-empty",
            render(&Queue::new(shell("queue"), queue_empty())),
        ),
        (
            "report",
            render(&ReportPage::new(
                shell("report"),
                report(texts),
                (texts.say("2026-11-19"), "2026-11-21".into()),
                Some(texts.say("from: must be a date")),
            )),
        ),
        ("costs", render(&Costs::new(shell("costs"), costs))),
        (
            "insights",
            render(&Insights::new(shell("insights"), &insights)),
        ),
        (
            "audit",
            render(&AuditPage::new(shell("audit"), audit, Some(3), false)),
        ),
        ("settings", render(&settings(texts))),
        (
            "login",
            render(&Login::new(
                shell("login"),
                Some(texts.say("nobody has this key")),
                texts.say("builds"),
                String::new(),
            )),
        ),
        (
            "problem",
            render(
                &ProblemPage::new(
                    shell("x"),
                    404,
                    texts.say("Not found"),
                    texts.say("there is no build \"x\""),
                )
                .of_request(Some(texts.say("abc-1")))
                .with_way("builds".into(), texts.say("All builds")),
            ),
        ),
    ]
}

/// Rendering, whatever the page.
mod askama_dyn {
    use agentwright_pages::Template;

    pub(crate) trait Rendered {
        fn html(&self) -> String;
    }

    impl<T: Template> Rendered for T {
        fn html(&self) -> String {
            self.render().unwrap()
        }
    }
}
