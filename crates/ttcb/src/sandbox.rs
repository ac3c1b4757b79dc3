//! What the component takes from itself once all that it needs is open.
//!
//! Landlock leaves it no file and no TCP port. seccomp leaves it reading, writing, waiting, accepting on the sockets it has,
//! memory, time and randomness: it can open nothing, start nothing, and make no memory executable. A leader's sandbox
//! (`crates/daemon`) has to leave far more, and brings a leader with it.

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;

    use landlock::{
        ABI, Access, AccessFs, AccessNet, RestrictionStatus, Ruleset, RulesetAttr, RulesetError, RulesetStatus, Scope,
    };
    use seccompiler::SeccompCmpArgLen::Dword;
    use seccompiler::SeccompCmpOp::MaskedEq;
    use seccompiler::{
        BackendError, BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
    };

    /// All that the component goes on calling.
    const CALLS: &[i64] = &[
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_recvfrom,
        libc::SYS_sendto,
        libc::SYS_ppoll,
        libc::SYS_accept4,
        libc::SYS_getsockopt,
        libc::SYS_ioctl,
        libc::SYS_close,
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_restart_syscall,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];

    pub fn enter() -> (Result<(), String>, Result<(), String>) {
        // Landlock first: its own system calls are not among those that seccomp leaves.
        (files(), calls())
    }

    fn files() -> Result<(), String> {
        match nothing() {
            Ok(RestrictionStatus { ruleset: RulesetStatus::FullyEnforced, .. }) => Ok(()),
            Ok(RestrictionStatus { ruleset: RulesetStatus::PartiallyEnforced, .. }) => {
                Err("this kernel does not know all of it".to_owned())
            }
            Ok(_) => Err("this kernel has none, or it is not switched on".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn nothing() -> Result<RestrictionStatus, RulesetError> {
        Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V6))?
            .handle_access(AccessNet::from_all(ABI::V6))?
            .scope(Scope::from_all(ABI::V6))?
            .create()?
            .restrict_self()
    }

    fn calls() -> Result<(), String> {
        let filter = filter().map_err(|error| error.to_string())?;
        apply_filter(&filter).map_err(|error| error.to_string())
    }

    fn filter() -> Result<BpfProgram, BackendError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
        let executable = u64::from(libc::PROT_EXEC.unsigned_abs());
        for call in [libc::SYS_mmap, libc::SYS_mprotect] {
            let never = SeccompCondition::new(2, Dword, MaskedEq(executable), 0)?;
            rules.insert(call, vec![SeccompRule::new(vec![never])?]);
        }
        let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let arch = std::env::consts::ARCH.try_into()?;
        SeccompFilter::new(rules, refuse, SeccompAction::Allow, arch)?.try_into()
    }
}

/// How much of the sandbox is enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforcement {
    /// Files and ports: Landlock.
    pub landlock: Result<(), String>,
    /// System calls: seccomp.
    pub seccomp: Result<(), String>,
}

/// Enters the sandbox: there is no way back.
#[cfg(target_os = "linux")]
pub fn enter() -> Enforcement {
    let (landlock, seccomp) = linux::enter();
    Enforcement { landlock, seccomp }
}

/// Enters the sandbox: there is none on this system.
#[cfg(not(target_os = "linux"))]
pub fn enter() -> Enforcement {
    let absent = || Err("only Linux has it".to_owned());
    Enforcement { landlock: absent(), seccomp: absent() }
}
