//! From the README's sentence to a zip in a real folder.

use crate::support::{World, auto, facts, names, phase, scope};
use agentwright_domain::build::Phase;

const SENTENCE: &str =
    "every night, keep a zip of the folder ./notes in ./backups and keep the last 7";

#[tokio::test(flavor = "multi_thread")]
async fn the_sentence_of_the_readme_becomes_a_deployed_schedule_that_makes_zips() {
    let world = World::new().await;
    world.write("notes/a.txt", "one\n");
    world.write("notes/sub/b.txt", "two\n");
    let run = world.build(SENTENCE, auto()).await;
    let story = world.story(&run.id).await;
    assert_eq!(phase(&run), &Phase::Completed { deployed: true }, "{story}");
    let name = facts(&run).name.clone().unwrap();

    let status = world.runtime.status(&scope(), &name).await.unwrap();
    assert!(status.granted && !status.drifted);
    let due = agentwright_testkit::eventually("the next night is worked out", async || {
        world
            .runtime
            .status(&scope(), &name)
            .await
            .unwrap()
            .row
            .next_due_at_ms
    })
    .await;
    assert!(due > world.runtime.now_ms());

    let execution = world.runtime.run_now(&scope(), &name, "ann").await.unwrap();
    let ran = world.settled(&execution).await;
    let story = world.story(&execution).await;
    assert_eq!(ran.status.word(), "completed", "{story}");
    assert_eq!(names(&world.home().join("backups")).len(), 1, "{story}");
    let usage = world
        .store
        .usage(&scope(), &execution)
        .await
        .unwrap()
        .unwrap();
    assert!(usage.wall_ms > 0);

    world.runtime.remove(&scope(), &name).await.unwrap();
    assert!(names(&world.runtime.layout().data().join("deployments")).is_empty());
    assert!(names(&world.runtime.layout().data().join("builds")).is_empty());
    assert_eq!(names(&world.home().join("backups")).len(), 1);
    world.end().await;
}
