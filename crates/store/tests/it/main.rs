//! The conformance suite: every case on both engines, and what is special to one.

#![expect(clippy::unwrap_used, reason = "a helper of tests fails by panicking")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests wait for the tasks that they spawn"
)]
#![expect(clippy::print_stdout, reason = "which case it was, when one fails")]
#![expect(clippy::too_many_lines, reason = "a case tells its story in one piece")]

mod access;
mod backlogs;
mod bed;
mod claims;
mod commits;
mod deployments;
mod history;
mod opening;
mod queue;
mod reading;
mod spending;
mod telling;
mod tenancy;

use bed::{Bed, Template};
use std::future::Future;
use std::pin::Pin;

type Case = (&'static str, fn(Bed) -> Pin<Box<dyn Future<Output = ()>>>);

macro_rules! cases {
    ($($module:ident::$name:ident,)+) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), |bed| Box::pin($module::$name(bed)))),+]
    };
}

const CASES: &[Case] = cases![
    claims::they_follow_priority_then_age,
    claims::they_honour_not_before,
    claims::they_keep_the_global_limit,
    claims::they_keep_the_limit_of_an_organization_and_pass_over_it,
    claims::two_claimers_never_get_the_same_run,
    claims::an_expired_lease_is_taken_over_and_the_old_holder_is_fenced,
    claims::a_renewed_lease_is_not_taken_over,
    claims::only_the_named_leases_are_renewed,
    claims::what_a_process_works_on_it_never_claims_again,
    claims::a_run_that_was_given_back_is_ready_and_its_claim_does_not_count,
    commits::a_run_submitted_twice_is_one_run,
    commits::a_label_is_unique_among_live_runs_of_a_kind,
    commits::a_commit_writes_state_stage_events_and_notices_at_once,
    commits::a_stale_commit_fails_alone_in_its_group,
    commits::a_refused_row_fails_alone_in_its_group,
    commits::of_two_that_commit_one_run_at_once_one_wins,
    commits::events_have_no_gaps_when_many_report_at_once,
    commits::a_cancel_by_somebody_else_fences_the_holder,
    commits::waiting_leaves_the_queue_and_a_yes_returns_to_it,
    commits::a_yes_at_the_moment_of_parking_is_never_lost,
    commits::a_retry_waits_in_the_queue,
    commits::work_is_counted_and_waiting_is_not,
    commits::characters_that_no_engine_keeps_are_replaced,
    commits::every_kind_of_record_is_read_back_and_may_be_written_twice,
    deployments::a_version_makes_a_deployment_and_the_next_one_switches_it,
    deployments::of_two_versions_for_one_new_name_one_is_written,
    deployments::of_two_versions_that_replace_the_same_one_one_is_written,
    deployments::a_version_that_another_build_made_is_not_the_one_to_replace,
    deployments::a_version_for_what_was_removed_writes_nothing,
    deployments::a_write_on_an_old_revision_changes_nothing,
    deployments::of_two_that_fire_at_once_one_fires,
    deployments::nothing_is_fired_while_an_execution_goes_on,
    deployments::the_end_of_an_execution_frees_its_deployment,
    deployments::failures_pause_what_is_active_only,
    deployments::a_revoked_grant_says_when,
    deployments::a_removed_deployment_leaves_its_history_only,
    queue::a_write_on_an_old_revision_changes_nothing_and_ideas_are_read_back_in_order,
    queue::an_answer_is_counted_while_it_is_the_same_and_old_ones_are_forgotten,
    queue::looks_at_the_same_time_number_their_answers_one_after_the_other,
    queue::backlogs_of_other_organizations_are_not_seen,
    backlogs::a_connected_table_is_kept_looked_at_and_disconnected,
    backlogs::of_two_that_write_one_row_of_a_table_one_goes_on,
    backlogs::rows_that_ended_are_kept_for_a_while_and_open_ones_for_good,
    backlogs::tables_of_other_organizations_are_not_seen,
    history::builds_are_listed_by_how_they_stand_and_when_they_came,
    history::stages_progress_and_times_are_read_for_several_builds,
    history::the_last_call_of_a_provider_tells_how_it_ended,
    history::every_commit_of_this_process_is_heard_in_order,
    reading::lists_are_newest_first_and_filtered,
    reading::builds_are_found_by_words_in_either_order,
    reading::a_run_is_found_by_label_and_by_the_beginning_of_its_id,
    reading::running_is_said_only_while_the_lease_is_live,
    reading::another_organization_sees_nothing,
    reading::news_of_a_run_wakes_whoever_waits,
    spending::what_is_set_aside_counts_until_it_is_settled,
    spending::every_scope_from_organization_to_stage_must_have_room,
    spending::a_new_day_has_a_new_budget,
    spending::of_two_that_want_the_last_one_gets_it,
    spending::a_run_that_was_cancelled_reserves_nothing_and_still_settles,
    spending::costs_are_added_up_by_build_day_role_and_model,
    spending::a_build_without_budget_waits_and_goes_on_when_resumed,
    telling::a_link_that_decides_is_kept_by_its_digest_and_used_up_with_its_gate,
    access::a_key_holds_until_it_expires_or_is_revoked,
    access::a_service_key_acts_for_its_list_only,
    access::a_login_code_is_used_once_and_in_time,
    access::a_session_ends_with_its_key_or_when_it_is_ended,
    access::the_row_about_a_run_is_in_the_commit_of_its_change,
    access::an_audit_trail_is_one_chain_for_each_organization,
    access::what_was_tampered_with_is_named,
    access::a_deleted_organization_leaves_nothing_and_takes_nothing_along,
    access::what_is_older_than_it_is_kept_goes_and_the_rest_stays,
    telling::notices_are_due_once_and_parked_when_settled_so,
    telling::what_no_run_tells_is_told_once,
    telling::a_night_has_one_report_and_a_message_one_item,
    telling::what_ended_in_a_time_is_read_with_what_it_took,
    telling::a_parked_build_says_until_when_there_is_no_quota,
    queue::what_is_being_built_is_read_with_how_its_run_stands,
    telling::a_call_given_up_half_way_leaves_nothing_open_behind,
    telling::a_repeated_key_answers_the_first_id,
    telling::artifacts_of_live_things_survive_the_quota,
];

async fn every_case(start: impl AsyncFn() -> Bed) {
    for (name, case) in CASES {
        let bed = start().await;
        println!("case {name}");
        case(bed).await;
    }
}

/// Statements that one engine never runs: it has no predecessor's leases to void.
const SQLITE_ONLY: [&str; 3] = [
    "giving back runs of a dead process",
    "making notices of a dead process due",
    "voiding leases of a dead process",
];

fn not_executed() -> Vec<&'static str> {
    agentwright_store::statements()
        .into_iter()
        .filter(|statement| statement.executed() == 0)
        .map(|statement| statement.name)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_holds_and_every_statement_is_executed_on_sqlite() {
    every_case(Bed::sqlite).await;
    assert_eq!(not_executed(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_holds_and_every_statement_is_executed_on_postgres() {
    let Some(cluster) = agentwright_testkit::Cluster::start().await else {
        return;
    };
    let template = Template::of(&cluster).await;
    every_case(async || Bed::postgres(&cluster, &template).await).await;
    let left: Vec<_> = not_executed()
        .into_iter()
        .filter(|name| !SQLITE_ONLY.contains(name))
        .collect();
    assert_eq!(left, [""; 0]);
}
