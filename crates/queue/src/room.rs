//! Whether the machine has room for one more build: disk, memory and cores that deployed services and builds under
//! way have not been promised already.

/// What the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Free where builds are kept, bytes.
    pub disk_free: u64,
    /// All memory, bytes.
    pub memory: u64,
    /// Memory that can be had now, bytes.
    pub memory_free: u64,
    /// Cores.
    pub cores: u32,
}

/// What is promised already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promised {
    /// Builds under way.
    pub builds: u32,
    /// Memory that deployed services may take, bytes.
    pub services_memory: u64,
}

/// What one build needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Disk that stays free, bytes.
    pub disk: u64,
    /// Memory, bytes.
    pub memory: u64,
    /// Cores; 0 asks for none.
    pub cores: u32,
}

/// Why nothing starts on this disk, whoever asks for it; `None` where there is room.
pub fn disk_full(free: u64, kept: u64) -> Option<String> {
    (free < kept).then(|| {
        format!(
            "{} of disk are free, and {} are kept free",
            megabytes(free),
            megabytes(kept)
        )
    })
}

/// What there is no room for, in words; `None` where there is room.
pub fn no_room(machine: &Machine, promised: &Promised, needs: &Needs) -> Option<String> {
    if let Some(full) = disk_full(machine.disk_free, needs.disk) {
        return Some(full);
    }
    if machine.memory_free < needs.memory {
        return Some(format!(
            "{} of memory are free, and a build gets {}",
            megabytes(machine.memory_free),
            megabytes(needs.memory)
        ));
    }
    let builds = u64::from(promised.builds).saturating_mul(needs.memory);
    let taken = builds.saturating_add(promised.services_memory);
    if machine.memory.saturating_sub(taken) < needs.memory {
        return Some(format!(
            "of {} of memory {} are promised to services and builds, and a build gets {}",
            megabytes(machine.memory),
            megabytes(taken),
            megabytes(needs.memory)
        ));
    }
    let busy = promised.builds.saturating_mul(needs.cores);
    if needs.cores > 0 && machine.cores.saturating_sub(busy) < needs.cores {
        return Some(format!(
            "of {} cores {busy} are taken by builds, and a build gets {}",
            machine.cores, needs.cores
        ));
    }
    None
}

fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;
    const MACHINE: Machine = Machine {
        disk_free: 5_000 * MB,
        memory: 4_000 * MB,
        memory_free: 3_000 * MB,
        cores: 2,
    };
    const NEEDS: Needs = Needs {
        disk: 1_000 * MB,
        memory: 1_000 * MB,
        cores: 1,
    };

    #[test]
    fn each_thing_that_is_short_is_named_with_how_much_there_is() {
        let one = Promised {
            builds: 1,
            services_memory: 0,
        };
        assert_eq!(no_room(&MACHINE, &one, &NEEDS), None);
        let full = Machine {
            disk_free: 999 * MB,
            ..MACHINE
        };
        let low = Machine {
            memory_free: 10 * MB,
            ..MACHINE
        };
        let served = Promised {
            services_memory: 2_500 * MB,
            ..one
        };
        let busy = Promised { builds: 2, ..one };
        for (machine, promised, says) in [
            (&full, &one, "999 MB of disk"),
            (&low, &one, "10 MB of memory"),
            (&MACHINE, &served, "3500 MB are promised"),
            (&MACHINE, &busy, "of 2 cores 2 are taken"),
        ] {
            let why = no_room(machine, promised, &NEEDS).unwrap();
            assert!(why.contains(says), "{why}");
        }
        let any = Needs { cores: 0, ..NEEDS };
        assert_eq!(no_room(&MACHINE, &busy, &any), None);
    }
}
