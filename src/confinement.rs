//! What a live run gives up once its interfaces are open: it reads hostile bytes for years, and needs little to do so.
//!
//! - **User**: another one, when the settings name one and the run began as root.
//! - **Capabilities**: all of them, for good: the sockets that needed them are open.
//! - **New privileges**: no program that is started could gain any.
//! - **Files** (Landlock): the system's own may be read, and the folders of the settings as each is meant; nothing else can be opened.
//! - **System calls** (seccomp): no program can be started, no other process touched, and nothing of the system changed: calls that a
//!   sensor has no use for fail with `EPERM`.
//!
//! What the kernel lacks is said and not held against it; what it has and refuses is an error. All but the filter of system calls
//! holds for the calling thread and those that it starts, so that this comes before any other thread is there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landlock::{ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, path_beneath_rules};
use nix::unistd::{Uid, User};
use rustix::thread::{CapabilitySet, CapabilitySets};
use schemars::JsonSchema;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use serde::{Deserialize, Serialize};

/// How a live run is confined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Off: it keeps what it was started with.
    pub enabled: bool,
    /// User to go on as when the run began as root. Without one it stays root, but without root's powers.
    pub user: Option<String>,
    /// Files and folders that may be read beside those that the other settings name.
    pub read: Vec<PathBuf>,
    /// Folders that may be written to beside the state folder.
    pub write: Vec<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { enabled: true, user: None, read: Vec::new(), write: Vec::new() }
    }
}

/// What of the system may be read: names of hosts, certificates, time zones, counters of interfaces.
const SYSTEM: [&str; 9] = ["/etc", "/usr", "/lib", "/lib64", "/bin", "/proc", "/sys", "/dev", "/run"];

/// What kept the confinement from being complete, though the kernel could.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// There is no such user.
    #[error("there is no user {0:?}; name another one, or none, in `user` of table [confinement]")]
    NoUser(String),
    /// A step failed.
    #[error("{0}: {1}; `enabled = false` in table [confinement] goes without")]
    Failed(&'static str, String),
}

/// What holds, a word or two each.
#[derive(Debug, Default)]
pub struct Confinement {
    /// What is given up.
    pub holds: Vec<String>,
    /// What this kernel lacks.
    pub lacks: Vec<String>,
}

impl Confinement {
    fn note(&mut self, files: RulesetStatus) {
        match files {
            RulesetStatus::FullyEnforced => self.holds.push("files by Landlock".into()),
            RulesetStatus::PartiallyEnforced => {
                self.holds.push("files by Landlock".into());
                self.lacks.push("the newest version of Landlock".into());
            }
            RulesetStatus::NotEnforced => self.lacks.push("Landlock".into()),
        }
    }
}

impl std::fmt::Display for Confinement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "confined: {}", self.holds.join(", "))?;
        match self.lacks.is_empty() {
            true => Ok(()),
            false => write!(f, "; this kernel lacks: {}", self.lacks.join(", ")),
        }
    }
}

/// Confines the calling thread and those that it starts from now on. `read` and `write` are what the other settings name; what of it is
/// not there is passed over.
///
/// # Errors
///
/// A user that does not exist, and what the kernel can do and refused.
pub fn confine(settings: &Settings, read: &[PathBuf], write: &[PathBuf]) -> Result<Confinement, ConfinementError> {
    let mut result = Confinement::default();
    if let Some(name) = &settings.user
        && Uid::effective().is_root()
    {
        become_user(name)?;
        result.holds.push(format!("as user {name}"));
    }
    give_up_capabilities()?;
    result.holds.push("no capabilities".into());
    rustix::thread::set_no_new_privs(true).map_err(|error| failed("no new privileges", error))?;
    result.holds.push("no new privileges".into());
    let written: Vec<&Path> = write.iter().chain(&settings.write).map(PathBuf::as_path).collect();
    let read: Vec<&Path> =
        SYSTEM.iter().map(Path::new).chain(read.iter().chain(&settings.read).map(PathBuf::as_path)).collect();
    result.note(limit_files(&read, &written).map_err(|error| failed("Landlock", error))?);
    match filter_calls() {
        Ok(()) => result.holds.push("system calls by seccomp".into()),
        Err(Filter::Unknown) => result.lacks.push("a filter of system calls for this processor".into()),
        Err(Filter::Refused(error)) => return Err(ConfinementError::Failed("seccomp", error)),
    }
    Ok(result)
}

/// Gives a folder that this run has made as root to the user as whom it goes on. What is there already is nobody's to give away.
pub fn give(settings: &Settings, folder: &Path) {
    let Some(name) = settings.user.as_deref().filter(|_| Uid::effective().is_root()) else { return };
    if let Ok(Some(user)) = User::from_name(name) {
        // What could not be given cannot be written, which is said there.
        let _ = std::os::unix::fs::lchown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()));
    }
}

/// What of it this kernel offers. Landlock is tried on a thread that ends with it; nothing else changes.
///
/// # Errors
///
/// As [`confine`].
pub fn offered(settings: &Settings) -> Result<Confinement, ConfinementError> {
    let mut result = Confinement::default();
    if let Some(name) = &settings.user {
        let user = User::from_name(name).map_err(|error| failed("looking for the user", error))?;
        user.ok_or_else(|| ConfinementError::NoUser(name.to_owned()))?;
        if Uid::effective().is_root() {
            result.holds.push(format!("as user {name}"));
        }
    }
    result.holds.extend(["no capabilities".into(), "no new privileges".into()]);
    let tried = std::thread::spawn(|| {
        rustix::thread::set_no_new_privs(true).map_err(|error| error.to_string())?;
        limit_files(&[], &[]).map_err(|error| error.to_string())
    });
    let status = tried.join().map_err(|_| failed("Landlock", "the trial broke off"))?;
    result.note(status.map_err(|error| failed("Landlock", error))?);
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let known = TargetArch::try_from(std::env::consts::ARCH).is_ok();
    match known && actions.split_whitespace().any(|action| action == "errno") {
        true => result.holds.push("system calls by seccomp".into()),
        false => result.lacks.push("a filter of system calls for this processor".into()),
    }
    Ok(result)
}

/// The folder of a file that may be replaced by another one, or is not there yet: whoever may read it sees those too. None where
/// there is no such folder either.
pub fn folder_of(file: &Path) -> Option<PathBuf> {
    if let Ok(file) = file.canonicalize() {
        return file.parent().map(Path::to_owned);
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    folder.canonicalize().ok()
}

fn failed(step: &'static str, error: impl std::fmt::Display) -> ConfinementError {
    ConfinementError::Failed(step, error.to_string())
}

fn become_user(name: &str) -> Result<(), ConfinementError> {
    let failed = |error: nix::Error| failed("going on as another user", error);
    let user = User::from_name(name).map_err(failed)?.ok_or_else(|| ConfinementError::NoUser(name.to_owned()))?;
    nix::unistd::setgroups(&[user.gid]).map_err(failed)?;
    nix::unistd::setresgid(user.gid, user.gid, user.gid).map_err(failed)?;
    nix::unistd::setresuid(user.uid, user.uid, user.uid).map_err(failed)
}

fn give_up_capabilities() -> Result<(), ConfinementError> {
    for capability in CapabilitySet::all().iter() {
        // Who lacks CAP_SETPCAP cannot, and has nothing that a program could inherit either: no new privileges follow.
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).map_err(|error| failed("giving up capabilities", error))
}

fn limit_files(read: &[&Path], written: &[&Path]) -> Result<RulesetStatus, landlock::RulesetError> {
    // A kernel that knows less does what it can, and tells.
    let version = ABI::V5;
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let writing = AccessFs::from_all(version) & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock);
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(version))?
        .create()?
        .add_rules(path_beneath_rules(read, reading))?
        .add_rules(path_beneath_rules(["/dev/null"], reading | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(written, writing))?
        .restrict_self()?;
    Ok(status.ruleset)
}

enum Filter {
    Unknown,
    Refused(String),
}

fn filter_calls() -> Result<(), Filter> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(|_| Filter::Unknown)?;
    let rules: BTreeMap<i64, Vec<seccompiler::SeccompRule>> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let refused = |error: seccompiler::BackendError| Filter::Refused(error.to_string());
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, architecture).map_err(refused)?;
    let program: BpfProgram = filter.try_into().map_err(refused)?;
    seccompiler::apply_filter_all_threads(&program).map_err(|error| Filter::Refused(error.to_string()))
}

/// System calls that a sensor has no use for: programs, other processes, the system's state, other privileges.
const DENIED: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_io_uring_setup,
    libc::SYS_personality,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_mknodat,
    libc::SYS_memfd_create,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_yet_has_a_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let real = folder.path().canonicalize().expect("it is there");
        let file = folder.path().join("keys.log");
        assert_eq!(folder_of(&file).as_ref(), Some(&real));
        std::fs::write(&file, "").expect("room");
        assert_eq!(folder_of(&file).as_ref(), Some(&real));
        assert_eq!(folder_of(Path::new("keys-that-nobody-wrote.log")), std::env::current_dir().ok());
        assert_eq!(folder_of(Path::new("/nowhere/at/all/keys.log")), None);
    }

    #[test]
    fn what_is_offered_is_tried_and_binds_nobody() {
        let offered = offered(&Settings::default()).expect("no step that the kernel knows is refused");
        assert!(offered.holds.len() + offered.lacks.len() >= 4, "{offered}");
        std::fs::read("/proc/self/status").expect("this thread reads what it likes");
        let settings = Settings { user: Some("no-such-user-here".into()), ..Settings::default() };
        assert!(matches!(super::offered(&settings), Err(ConfinementError::NoUser(_))));
    }
}
