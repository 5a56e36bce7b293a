//! A command that is spoken with while it runs.

use agentwright_sandbox::{Command, Conversation, Ending, Limit, Limits, Policy, Stdout};
use tokio::io::AsyncWriteExt;

use crate::support::{python, sandbox, sh};

/// Reads until this many bytes have come, or the end.
async fn read(stdout: &mut Stdout, bytes: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < bytes {
        let Some(chunk) = stdout.chunk().await else {
            break;
        };
        all.extend(chunk);
    }
    all
}

#[tokio::test]
async fn every_line_is_answered_before_the_next_is_sent_and_closing_ends_it() {
    let script = "import sys\nfor line in sys.stdin: print('heard '+line.strip())\nprint('bye')";
    let (running, talk) = sandbox()
        .converse(Policy::default(), python(script))
        .await
        .unwrap();
    let Conversation {
        mut stdin,
        mut stdout,
    } = talk;
    for word in ["one", "two", "three"] {
        stdin
            .write_all(format!("{word}\n").as_bytes())
            .await
            .unwrap();
        let expected = format!("heard {word}\n");
        assert_eq!(read(&mut stdout, expected.len()).await, expected.as_bytes());
    }
    drop(stdin);
    assert_eq!(read(&mut stdout, usize::MAX).await, b"bye\n");
    let report = running.wait().await.unwrap();
    assert_eq!(report.ending, Ending::Exited(0), "{}", report.stderr.text());
}

#[tokio::test]
async fn output_comes_whole_however_long_its_lines_are() {
    let script = "import sys\nsys.stdin.readline()\nsys.stdout.write('x'*3_000_000+'\\n')";
    let (running, talk) = sandbox()
        .converse(Policy::default(), python(script))
        .await
        .unwrap();
    let Conversation {
        mut stdin,
        mut stdout,
    } = talk;
    stdin.write_all(b"go\n").await.unwrap();
    let all = read(&mut stdout, usize::MAX).await;
    assert_eq!(all.len(), 3_000_001);
    let report = running.wait().await.unwrap();
    assert!(report.stdout.truncated_bytes > 0, "what is kept is bounded");
}

#[tokio::test]
async fn a_reader_that_goes_away_does_not_hold_the_command_up() {
    let (running, talk) = sandbox()
        .converse(
            Policy::default(),
            sh("read a; head -c 4000000 /dev/zero; echo done >&2"),
        )
        .await
        .unwrap();
    let Conversation { mut stdin, stdout } = talk;
    drop(stdout);
    stdin.write_all(b"go\n").await.unwrap();
    let report = running.wait().await.unwrap();
    assert_eq!(report.ending, Ending::Exited(0));
    assert_eq!(report.stderr.text(), "done\n");
}

#[tokio::test]
async fn the_walls_and_the_limits_are_the_same_in_a_conversation() {
    let limits = Limits {
        wall_ms: Some(300),
        ..Limits::default()
    };
    let policy = Policy {
        limits,
        ..Policy::default()
    };
    let script = "touch /usr/x /app/x; id -u; cat; sleep 600";
    let (running, talk) = sandbox().converse(policy, sh(script)).await.unwrap();
    let Conversation { stdin, mut stdout } = talk;
    assert_eq!(read(&mut stdout, usize::MAX).await, b"1000\n");
    let report = running.wait().await.unwrap();
    assert_eq!(report.ending, Ending::Stopped(Limit::Wall));
    assert!(report.stderr.text().contains("cannot touch '/usr/x'"));
    drop(stdin);
}

#[tokio::test]
async fn writing_to_a_command_that_has_ended_fails_instead_of_waiting() {
    let (running, talk) = sandbox()
        .converse(Policy::default(), sh("exit 3"))
        .await
        .unwrap();
    assert_eq!(running.wait().await.unwrap().ending, Ending::Exited(3));
    let mut stdin = talk.stdin;
    let error = stdin.write_all(&[b'x'; 200_000]).await.err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn an_input_that_is_given_and_kept_open_at_once_is_refused() {
    let command = Command {
        argv: vec!["cat".into()],
        stdin: b"x".to_vec(),
    };
    let refused = sandbox().converse(Policy::default(), command).await;
    let text = refused.err().unwrap().to_string();
    assert!(text.contains("write it into the conversation"), "{text}");
}
