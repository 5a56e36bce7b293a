//! The abuse table of the design: what a command must not see, reach or do.

use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use agentwright_sandbox::{Ending, Policy};

use crate::support::{
    attempt, bare, folder, inside, is_root, output, python, reads, run, sh, writes,
};

async fn stopped(body: &str, expected: &[&str]) {
    let said = inside(Policy::default(), body).await;
    let errno = said
        .trim()
        .strip_prefix("STOPPED ")
        .unwrap_or_else(|| panic!("{body}\n{said}"));
    assert!(expected.contains(&errno), "{body}\n{said}");
}

#[tokio::test]
async fn host_files_are_not_there_but_the_same_read_works_outside() {
    let secret = folder();
    std::fs::write(secret.path().join("id_ed25519"), "private").unwrap();
    let read = format!(
        "return open('{}/id_ed25519').read()",
        secret.path().display()
    );
    assert_eq!(bare(&read), "LEAKED private\n");
    stopped(&read, &["ENOENT"]).await;
    stopped("return open('/etc/shadow').read()", &["ENOENT"]).await;
    stopped("return open('/etc/hostname').read()", &["ENOENT"]).await;
    stopped("return os.listdir('/home')", &["ENOENT"]).await;
    stopped("return os.listdir('/root')", &["ENOENT"]).await;
    stopped("return os.listdir('/mnt')", &["ENOENT"]).await;
    stopped("return os.listdir('/var')", &["ENOENT"]).await;
    stopped("return os.listdir('/sys')", &["ENOENT"]).await;
}

#[tokio::test]
async fn nothing_outside_the_declared_folders_can_be_written() {
    for path in [
        "/usr/x",
        "/usr/bin/python3",
        "/etc/passwd",
        "/etc/x",
        "/x",
        "/run/x",
        "/run/bin/ls",
        "/app/x",
        "/data/x",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
    ] {
        stopped(
            &format!("return open('{path}','a').write('x')"),
            &["EROFS", "EACCES", "ENOENT", "EPERM"],
        )
        .await;
    }
    let said = inside(Policy::default(), "open('/state/x','w').write('x'); open('/tmp/x','w').write('x'); return open('/dev/shm/x','w').write('x')").await;
    assert_eq!(said, "LEAKED 1\n");
}

#[tokio::test]
async fn planted_links_lead_nowhere() {
    let (secret, data) = (folder(), folder());
    std::fs::write(secret.path().join("key"), "private").unwrap();
    std::os::unix::fs::symlink(secret.path().join("key"), data.path().join("link")).unwrap();
    let policy = Policy {
        mounts: vec![writes(data.path(), "/data/d")],
        ..Policy::default()
    };
    assert_eq!(
        inside(policy, "return open('/data/d/link').read()").await,
        "STOPPED ENOENT\n"
    );
    stopped(
        "return open('/proc/1/root/etc/shadow').read()",
        &["EACCES", "EPERM", "ENOENT"],
    )
    .await;
    stopped("return os.readlink('/proc/1/exe')", &["EACCES", "EPERM"]).await;
}

#[tokio::test]
async fn the_init_and_the_environment_tell_nothing_of_the_host() {
    stopped(
        "return open('/proc/1/environ').read()",
        &["EACCES", "EPERM"],
    )
    .await;
    stopped("return os.listdir('/proc/1/fd')", &["EACCES", "EPERM"]).await;
    stopped(
        "return open('/proc/1/mem','rb').read(1)",
        &["EACCES", "EPERM", "EIO"],
    )
    .await;
    let env = output(
        Policy::default(),
        sh("env -0 | cut -z -d= -f1 | sort -z | tr '\\0' ' '"),
    )
    .await;
    assert_eq!(
        env,
        "HOME LANG LOGNAME PATH PWD PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED SHELL TMPDIR TZ USER "
    );
    let fds = output(
        Policy::default(),
        python("import os;print(sorted(os.listdir('/proc/self/fd')))"),
    )
    .await;
    assert_eq!(
        fds, "['0', '1', '2', '3']\n",
        "the fourth is the listing itself"
    );
    let mounts = output(Policy::default(), sh("cat /proc/self/mountinfo")).await;
    assert!(
        !mounts.contains(&std::env::current_dir().unwrap().display().to_string()),
        "{mounts}"
    );
}

#[tokio::test]
async fn sockets_of_the_host_cannot_be_reached() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = format!(
        "s=socket.create_connection(('127.0.0.1',{}),2); return 'in'",
        tcp.local_addr().unwrap().port()
    );
    assert_eq!(bare(&connect), "LEAKED in\n");
    stopped(&connect, &["ECONNREFUSED"]).await;

    let name = format!("aw-test-{}", std::process::id());
    let _abstract =
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let connect = format!("s=socket.socket(socket.AF_UNIX); s.connect('\\0{name}'); return 'in'");
    assert_eq!(bare(&connect), "LEAKED in\n");
    stopped(&connect, &["ECONNREFUSED", "EPERM"]).await;

    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_nonblocking(true).unwrap();
    let send = format!(
        "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); return s.sendto(b'x',('127.0.0.1',{}))",
        udp.local_addr().unwrap().port()
    );
    inside(Policy::default(), &send).await;
    assert!(
        udp.recv(&mut [0; 8]).is_err(),
        "the datagram stays on the sandbox's own loopback"
    );

    stopped("return socket.getaddrinfo('example.com',80)", &["DNS"]).await;
    stopped(
        "s=socket.create_connection(('169.254.169.254',80),2); return 'in'",
        &["ENETUNREACH"],
    )
    .await;
    stopped(
        "s=socket.create_connection(('1.1.1.1',53),2); return 'in'",
        &["ENETUNREACH"],
    )
    .await;
}

#[tokio::test]
async fn a_unix_socket_in_a_declared_folder_cannot_be_reached() {
    let data = folder();
    let path = data.path().join("agent.sock");
    let _listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(
        bare(&format!(
            "s=socket.socket(socket.AF_UNIX); s.connect('{}'); return 'in'",
            path.display()
        )),
        "LEAKED in\n"
    );
    let policy = Policy {
        mounts: vec![writes(data.path(), "/data/d")],
        ..Policy::default()
    };
    let said = inside(
        policy.clone(),
        "s=socket.socket(socket.AF_UNIX); s.connect('/data/d/agent.sock'); return 'in'",
    )
    .await;
    assert_eq!(said, "STOPPED EPERM\n");
    assert_eq!(
        inside(policy, "return len(socket.socketpair())").await,
        "LEAKED 2\n",
        "pairs stay possible"
    );
}

#[tokio::test]
async fn dangerous_kernel_interfaces_are_closed() {
    for family in [
        "socket.AF_VSOCK",
        "socket.AF_PACKET",
        "38",
        "socket.AF_CAN",
        "socket.AF_BLUETOOTH",
    ] {
        stopped(
            &format!("return socket.socket({family},socket.SOCK_RAW)"),
            &["EPERM"],
        )
        .await;
    }
    let calls = [
        ("ptrace", "sc(101,0,0,0,0)"),
        ("process_vm_readv", "sc(310,1,0,0,0,0,0)"),
        ("pidfd_getfd", "sc(438,0,0,0)"),
        ("mount", "sc(165,b'none',b'/tmp',b'tmpfs',0,0)"),
        ("fsopen", "sc(430,b'tmpfs',0)"),
        ("pivot_root", "sc(155,b'/',b'/')"),
        ("chroot", "sc(161,b'/tmp')"),
        ("unshare", "sc(272,0x10000000)"),
        ("setns", "sc(308,0,0)"),
        ("clone", "sc(56,0x10000000|17,0,0,0,0)"),
        ("keyctl", "sc(250,0,-3,0)"),
        ("add_key", "sc(248,b'user',b'a',b'b',1,-3)"),
        ("bpf", "sc(321,0,0,0)"),
        ("perf_event_open", "sc(298,0,0,-1,-1,0)"),
        ("userfaultfd", "sc(323,0)"),
        ("io_uring_setup", "sc(425,4,0)"),
        ("open_by_handle_at", "sc(304,-100,0,0)"),
        ("syslog", "sc(103,3,0,0)"),
        ("reboot", "sc(169,0,0,0,0)"),
        ("personality", "sc(135,0x0040000)"),
        ("setuid", "os.setuid(0)"),
        ("sethostname", "socket.sethostname('x')"),
        ("settime", "time.clock_settime(time.CLOCK_REALTIME,0)"),
        (
            "mknod",
            "os.mknod('/state/d',0o600|stat.S_IFBLK,os.makedev(8,0))",
        ),
        ("chown", "open('/state/f','w'); os.chown('/state/f',0,0)"),
    ];
    for (name, call) in calls {
        stopped(
            &format!("return '{name}', {}", call.rsplit("; ").next().unwrap()).replacen(
                "return",
                &prefix(call),
                1,
            ),
            &["EPERM", "EACCES", "EINVAL"],
        )
        .await;
    }
    for hidden in [
        "sc(435,0,0)",
        "sc(437,-100,b'/',0,0)",
        "sc(452,-100,b'/',0,0)",
        "sc(0x40000000|39)",
    ] {
        stopped(&format!("return {hidden}"), &["ENOSYS"]).await;
    }
}

/// Everything before the last statement, then `return`.
fn prefix(call: &str) -> String {
    call.rsplit_once("; ")
        .map_or("return".into(), |(before, _)| format!("{before}\nreturn"))
}

#[tokio::test]
async fn terminals_devices_and_cgroups_are_out_of_reach() {
    stopped("return fcntl.ioctl(0,0x5412,b'x')", &["EPERM"]).await;
    stopped("return fcntl.ioctl(0,0x541C,b'x')", &["EPERM"]).await;
    stopped("return open('/dev/tty')", &["ENXIO", "EPERM"]).await;
    for device in ["vda", "sda", "kvm", "mem", "kmsg", "fuse", "net/tun"] {
        stopped(&format!("return open('/dev/{device}')"), &["ENOENT"]).await;
    }
    stopped(
        "return open('/sys/fs/cgroup/cgroup.procs','w').write('0')",
        &["ENOENT"],
    )
    .await;
    stopped(
        "return os.link('/usr/bin/su','/state/su')",
        &["EXDEV", "EPERM", "EACCES"],
    )
    .await;
    assert_eq!(
        inside(Policy::default(), "return len(os.urandom(4))").await,
        "LEAKED 4\n"
    );
    assert_eq!(
        inside(Policy::default(), "return open('/dev/null','w').write('x')").await,
        "LEAKED 1\n"
    );
}

#[tokio::test]
async fn processes_of_the_host_are_neither_seen_nor_signalled() {
    let mut victim = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    let kill = format!("return os.kill({},0)", victim.id());
    assert_eq!(bare(&kill), "LEAKED None\n");
    stopped(&kill, &["ESRCH"]).await;
    let pids = output(
        Policy::default(),
        python("import os;print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit()))"),
    )
    .await;
    assert_eq!(pids, "[1, 2]\n");
    let report = run(Policy::default(), python("import os;os.kill(-1,9)")).await;
    assert!(
        matches!(report.ending, Ending::Signalled(9) | Ending::Exited(_)),
        "{:?}",
        report.ending
    );
    let report = run(
        Policy::default(),
        python("import os\ntry: os.kill(1,9)\nfinally: print('init lives')"),
    )
    .await;
    assert_eq!(report.stdout.text(), "init lives\n");
    assert!(
        victim.try_wait().unwrap().is_none(),
        "the host's process must survive"
    );
    victim.kill().unwrap();
    victim.wait().unwrap();
}

#[tokio::test]
async fn set_id_bits_neither_work_inside_nor_stay_on_the_host() {
    let data = folder();
    let policy = Policy {
        mounts: vec![writes(data.path(), "/data/d")],
        ..Policy::default()
    };
    for body in [
        "open('/data/d/f','w'); return os.chmod('/data/d/f',0o4755)",
        "open('/data/d/f','w'); return os.fchmod(os.open('/data/d/f',os.O_RDONLY),0o4755)",
        "return os.open('/data/d/g',os.O_CREAT|os.O_WRONLY,0o4755)",
        "return os.mknod('/data/d/h',0o4755|stat.S_IFREG)",
    ] {
        assert_eq!(
            inside(policy.clone(), body).await,
            "STOPPED EPERM\n",
            "{body}"
        );
    }
    let old = data.path().join("old");
    std::fs::write(&old, "").unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o2755)).unwrap();
    let said = inside(policy.clone(), "open('/data/d/new','w'); os.chmod('/data/d/new',0o2755); os.mkdir('/data/d/dir'); os.chmod('/data/d/dir',0o2755); return oct(os.stat('/data/d/new').st_mode)").await;
    assert_eq!(said, "LEAKED 0o102755\n");
    let mode = |name: &str| {
        std::fs::metadata(data.path().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!(
        (mode("new"), mode("old"), mode("dir")),
        (0o755, 0o2755, 0o2755),
        "only new files lose the bit"
    );
    if is_root() {
        std::fs::copy("/usr/bin/id", data.path().join("id")).unwrap();
        std::fs::set_permissions(
            data.path().join("id"),
            std::fs::Permissions::from_mode(0o4755),
        )
        .unwrap();
        let bare = std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--clear-groups"])
            .arg("/usr/bin/id")
            .output()
            .unwrap();
        assert!(bare.status.success());
        assert_eq!(output(policy, sh("/data/d/id -u")).await, "1000\n");
    }
}

#[tokio::test]
async fn a_file_of_somebody_else_in_a_declared_folder_stays_closed() {
    if !is_root() {
        return;
    }
    let data = folder();
    std::os::unix::fs::chown(data.path(), Some(4321), Some(4321)).unwrap();
    std::fs::write(data.path().join("roots"), "secret").unwrap();
    std::fs::set_permissions(
        data.path().join("roots"),
        std::fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    std::fs::write(data.path().join("own"), "mine").unwrap();
    std::os::unix::fs::chown(data.path().join("own"), Some(4321), Some(100)).unwrap();
    std::fs::set_permissions(
        data.path().join("own"),
        std::fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    let policy = Policy {
        mounts: vec![writes(data.path(), "/data/d")],
        ..Policy::default()
    };
    assert_eq!(
        inside(policy.clone(), "return open('/data/d/roots').read()").await,
        "STOPPED EACCES\n"
    );
    assert_eq!(inside(policy.clone(), "open('/data/d/own','a').write('!'); open('/data/d/new','w'); return open('/data/d/own').read()").await, "LEAKED mine!\n");
    let meta = std::fs::metadata(data.path().join("new")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&meta), 4321);
}

#[tokio::test]
async fn two_sandboxes_cannot_see_each_other() {
    let (one, two) = (folder(), folder());
    std::fs::write(one.path().join("mine"), "one").unwrap();
    let first = Policy {
        mounts: vec![writes(one.path(), "/state")],
        ..Policy::default()
    };
    let held = crate::support::sandbox().start(first, sh("python3 -m http.server 8000 --bind 127.0.0.1 & echo up; touch /tmp/marker /dev/shm/marker; wait")).await.unwrap();
    let mut up = false;
    for _ in 0..400 {
        up = held.connect(8000).await.is_ok();
        if up {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert!(up, "the first sandbox serves");
    let second = Policy {
        mounts: vec![writes(two.path(), "/state")],
        ..Policy::default()
    };
    let body = format!(
        "seen=[os.path.exists(p) for p in ('/state/mine','/tmp/marker','/dev/shm/marker','{}')]\n\
         try: socket.create_connection(('127.0.0.1',8000),1); seen.append(True)\n\
         except OSError: seen.append(False)\n\
         return any(seen), len([p for p in os.listdir('/proc') if p.isdigit()])",
        one.path().display()
    );
    assert_eq!(inside(second, &body).await, "LEAKED (False, 2)\n");
    held.cancel();
    assert_eq!(held.wait().await.unwrap().ending, Ending::Cancelled);
}

#[tokio::test]
async fn nothing_stays_in_shared_memory_of_the_host() {
    let count = || std::fs::read_dir("/dev/shm").unwrap().count();
    let before = count();
    output(
        Policy::default(),
        sh("echo x > /dev/shm/aw-left && test -e /dev/shm/aw-left"),
    )
    .await;
    assert!(!std::path::Path::new("/dev/shm/aw-left").exists());
    assert_eq!(count(), before);
}

#[tokio::test]
async fn symbolic_links_missing_and_odd_paths_are_refused_with_their_names() {
    let real = folder();
    let (dir, link) = (real.path().join("dir"), real.path().join("link"));
    std::fs::create_dir_all(dir.join("sub")).unwrap();
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    let fifo = real.path().join("fifo");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let cases = [
        (link.clone(), "symbolic link"),
        (link.join("sub"), "symbolic link"),
        (real.path().join("none"), "does not exist"),
        (fifo, "neither a directory nor a regular file"),
        ("relative".into(), "relative"),
    ];
    for (host, expected) in cases {
        let policy = Policy {
            mounts: vec![writes(&host, "/data/d")],
            ..Policy::default()
        };
        let error = crate::support::sandbox()
            .start(policy, sh("true"))
            .await
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains(expected) && error.contains(host.file_name().unwrap().to_str().unwrap()),
            "{error}"
        );
    }
    for inside in [
        "/usr/x",
        "/",
        "/tmp",
        "/etc",
        "/proc/1",
        "/data/../etc",
        "data",
    ] {
        let policy = Policy {
            mounts: vec![reads(&dir, inside)],
            ..Policy::default()
        };
        assert!(
            crate::support::sandbox()
                .start(policy, sh("true"))
                .await
                .is_err(),
            "{inside}"
        );
    }
}

#[tokio::test]
async fn ordinary_tools_work_behind_the_filter() {
    let script = "set -e; cd /state; git init -q r; cd r; git config user.email a@b; git config user.name a; echo x > f; git add f; git commit -qm x; git log --oneline | wc -l; \
                  python3 -c 'import multiprocessing as m; print(sum(m.Pool(2).map(abs,[-1,-2])))'; \
                  python3 -c 'import sqlite3;c=sqlite3.connect(\"/state/db\");c.execute(\"create table t(a)\");print(c.execute(\"select count(*) from t\").fetchone()[0])'; \
                  python3 -c 'import threading;t=threading.Thread(target=lambda:print(\"thread\"));t.start();t.join()'; \
                  seq 1 3 | awk '{s+=$1} END {print s}'; cd /state; tar cf /tmp/a.tar r && tar tf /tmp/a.tar | grep -c f$";
    let mut text = output(Policy::default(), sh(script)).await;
    text.truncate(14);
    assert_eq!(text, "1\n3\n0\nthread\n6"[..14].to_owned());
}

#[tokio::test]
async fn a_fifo_in_a_declared_folder_does_not_hang_the_supervisor() {
    let data = folder();
    let policy = Policy {
        mounts: vec![writes(data.path(), "/data/d")],
        ..Policy::default()
    };
    let report = run(
        policy,
        sh("mkfifo /data/d/p; ln -s /data/d /data/d/loop; echo done"),
    )
    .await;
    assert_eq!(report.ending, Ending::Exited(0), "{}", attempt(""));
    let mut text = String::new();
    std::io::Cursor::new(report.stdout.bytes)
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "done\n");
}
