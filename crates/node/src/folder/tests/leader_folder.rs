use ringfort_protocol::LeaderId;
use ringfort_protocol::coordination::{LifeRecord, Subject};
use ringfort_protocol::group::deal_group;
use ringfort_protocol::leader::Record;
use ringfort_protocol::login::Attempts;

use crate::store::Store;

use super::*;

#[test]
fn a_folder_holds_its_leaders_secrets_and_users() {
    let (_home, _, summary) = made();
    for (position, folder) in summary.folders.iter().enumerate() {
        let open = LeaderFolder::open(folder).unwrap();
        assert_eq!(open.group.id(), summary.group.id());
        assert_eq!(usize::from(open.secrets.id.number()), position + 1);
        assert_eq!(&open.path, folder);
        let records = open.store.load().unwrap();
        assert!(matches!(&records[..], [Record::Registration(user, _)] if user.as_str() == "ana"));
    }
}

#[test]
fn secrets_are_for_their_owner_alone_from_the_start() {
    let (_home, dir, summary) = made();
    assert_eq!(mode(&dir), 0o700);
    for folder in &summary.folders {
        let open = LeaderFolder::open(folder).unwrap();
        assert_eq!(mode(folder), 0o700);
        assert_eq!(mode(&folder.join(INBOX)), 0o700);
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && !path.ends_with(GROUP_FILE) {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
        drop(open);
    }
}

#[test]
fn a_folder_that_others_can_get_at_is_not_used() {
    let (_home, _, summary) = made();
    let folder = &summary.folders[0];
    for (path, bad, good) in [
        (folder.clone(), 0o750, 0o700),
        (folder.join(INBOX), 0o770, 0o700),
        (folder.join(SECRETS_FILE), 0o640, 0o600),
        (folder.join(SECRETS_FILE), 0o602, 0o600),
        (folder.join(STORE_FILE), 0o644, 0o600),
    ] {
        set_mode(&path, bad);
        let error = LeaderFolder::open(folder).unwrap_err();
        assert!(error.to_string().contains("chmod"), "{error}");
        assert_refused(Err::<(), _>(error), FileErrorKind::Permissions, &path);
        set_mode(&path, good);
    }
    LeaderFolder::open(folder).unwrap();
}

fn unlock() -> Unlock {
    Unlock::KeyFile(Zeroizing::new(vec![7; 32]))
}

/// What a plain memory was becomes the memory of a folder, with nothing left of the one before.
fn put_memory(folder: &Path, bytes: &[u8]) {
    let memory = folder.join(STORE_FILE);
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", memory.display()));
    }
    fs::write(&memory, bytes).unwrap();
}

/// Whoever can write to the disk, or to the medium of a backup, has no key: a plain memory with registrations of its own
/// is not believed. An empty one is, as `ringfort leader rebuild` makes it: with it the leader catches up.
#[test]
fn a_sealed_leader_takes_no_memory_that_is_not_sealed() {
    let (_home, _, summary) = made();
    let path = summary.folders[0].clone();
    let plain = fs::read(path.join(STORE_FILE)).unwrap();
    LeaderFolder::seal(&path, &unlock()).unwrap();
    let users = LeaderFolder::open_with(&path, Some(&unlock())).unwrap().store.look().unwrap().users;
    assert!(users > 0, "the sealed memory is read");

    put_memory(&path, &plain);
    let opening = || LeaderFolder::open_with(&path, Some(&unlock()));
    assert_refused(opening(), FileErrorKind::Altered, &path.join(STORE_FILE));

    // Nor does the file say of itself that the memory is about to be sealed.
    let text = fs::read_to_string(path.join(SECRETS_FILE)).unwrap();
    let other = text.replace("memory = \"sealed\"", "memory = \"changing\"");
    assert_ne!(text, other);
    fs::write(path.join(SECRETS_FILE), &other).unwrap();
    assert_refused(opening(), FileErrorKind::Altered, &path.join(SECRETS_FILE));
    fs::write(path.join(SECRETS_FILE), &text).unwrap();

    backup::rebuild(&path).unwrap();
    let open = opening().unwrap();
    assert!(open.store.is_sealed() && open.store.is_catching_up());
    assert_eq!(open.store.look().unwrap().users, 0);
}

/// An empty memory that does not make the leader catch up would let it say once more, and otherwise, what it has said; one
/// that does, and holds anything at all, would not be empty.
#[test]
fn a_sealed_leader_takes_an_empty_memory_only_to_catch_up_with_it() {
    let (_home, _, summary) = made();
    let path = summary.folders[0].clone();
    let (group, user) = (summary.group.id(), name("eve"));
    LeaderFolder::seal(&path, &unlock()).unwrap();
    let foreign = |make: &dyn Fn(&Path) -> Store| {
        let home = tempfile::tempdir().unwrap();
        set_mode(home.path(), 0o700);
        let memory = home.path().join("memory");
        make(&memory).finish_alone().unwrap();
        put_memory(&path, &fs::read(&memory).unwrap());
        LeaderFolder::open_with(&path, Some(&unlock()))
    };
    let new = foreign(&|memory| Store::create(memory, group, None).unwrap());
    assert_refused(new, FileErrorKind::Altered, &path.join(STORE_FILE));
    // A life of rank 0 weighs nothing in what `check` tells of a memory, and is something all the same.
    let subject = Subject::User(user.clone());
    let life = LifeRecord { subject, accepted: None, barred: true, unwanted: true, votes: Vec::new() };
    let attempts = Attempts { user, left: Some(1) };
    for record in [Record::Life(life), Record::Attempts(attempts)] {
        let full = foreign(&|memory| {
            let mut store = Store::create_old(memory, group).unwrap();
            store.persist(&[&record]).unwrap();
            store
        });
        assert_refused(full, FileErrorKind::Altered, &path.join(STORE_FILE));
    }
    assert!(foreign(&|memory| Store::create_old(memory, group).unwrap()).unwrap().store.is_catching_up());
}

/// A crash at each step of sealing and of unsealing: the next open finishes it, and nothing is lost.
#[test]
fn sealing_that_a_crash_interrupts_is_finished_at_the_next_open() {
    let (_home, _, summary) = made();
    let path = summary.folders[0].clone();
    let users = LeaderFolder::open(&path).unwrap().store.look().unwrap().users;
    let plain = fs::read(path.join(STORE_FILE)).unwrap();
    LeaderFolder::seal(&path, &unlock()).unwrap();
    let sealed = fs::read(path.join(STORE_FILE)).unwrap();
    // As it is after the first step of unsealing, and before the second of sealing.
    let secrets = path.join(SECRETS_FILE);
    let text = fs::read_to_string(&secrets).unwrap();
    let opened = sealing::open_text(&secrets, &text, Some(&unlock())).unwrap();
    let changing = sealing::resealed(&secrets, &text, &opened, sealing::Memory::Changing).unwrap();
    for memory in [sealed, plain] {
        fs::write(&secrets, &changing).unwrap();
        put_memory(&path, &memory);
        let open = LeaderFolder::open_with(&path, Some(&unlock())).unwrap();
        assert!(open.store.is_sealed());
        assert_eq!(open.store.look().unwrap().users, users);
        drop(open);
        assert!(fs::read_to_string(&secrets).unwrap().contains("memory = \"sealed\""));
    }
    LeaderFolder::unseal(&path, &unlock()).unwrap();
    assert_eq!(LeaderFolder::open(&path).unwrap().store.look().unwrap().users, users);
}

#[test]
fn a_second_process_finds_the_folder_busy() {
    let (_home, _, summary) = made();
    let folder = &summary.folders[0];
    let open = LeaderFolder::open(folder).unwrap();
    assert_refused(LeaderFolder::open(folder), FileErrorKind::Busy, folder);
    drop(open);
    LeaderFolder::open(folder).unwrap();
}

#[test]
fn files_of_other_leaders_and_groups_are_refused() {
    let (_home, _, ours) = made();
    let (_other_home, _, theirs) = made();
    let [one, two] = [&ours.folders[0], &ours.folders[1]];
    let secrets = one.join(SECRETS_FILE);
    let original = fs::read_to_string(&secrets).unwrap();
    let second = fs::read_to_string(two.join(SECRETS_FILE)).unwrap();

    let foreign = fs::read_to_string(theirs.folders[0].join(SECRETS_FILE)).unwrap();
    replace(&secrets, &foreign);
    assert_refused(LeaderFolder::open(one), FileErrorKind::Altered, &secrets);

    // Each secret of leader 1 replaced by that of leader 2.
    for (line, other) in original.lines().zip(second.lines()).filter(|(line, other)| line != other) {
        replace(&secrets, &original.replace(line, other));
        let error = LeaderFolder::open(one).unwrap_err();
        let digits = other.split('"').nth(1).unwrap_or("never shown");
        assert!(!error.to_string().contains(digits), "{error}");
        assert_refused(Err::<(), _>(error), FileErrorKind::Altered, &secrets);
    }
    replace(&secrets, &original);

    let store = one.join(STORE_FILE);
    fs::copy(theirs.folders[0].join(STORE_FILE), &store).unwrap();
    assert_refused(LeaderFolder::open(one), FileErrorKind::Altered, &store);

    fs::copy(theirs.folders[0].join(GROUP_FILE), one.join(GROUP_FILE)).unwrap();
    assert_refused(LeaderFolder::open(one), FileErrorKind::Altered, &secrets);
}

#[test]
fn a_damaged_secrets_file_is_refused_without_showing_it() {
    let (_home, _, summary) = made();
    let folder = &summary.folders[0];
    let path = folder.join(SECRETS_FILE);
    let original = fs::read_to_string(&path).unwrap();
    let secret = original.lines().find(|line| line.starts_with("link")).unwrap().to_owned();
    let digits = secret.split('"').nth(1).unwrap().to_owned();
    for damaged in [
        original.replace("link = \"", "link = \"z"),
        original.replace("link = \"", "lunk = \""),
        original.replace(&secret, &secret.replace('"', "")),
        original.replace("leader = 1", "leader = 0"),
        original[..original.len() / 2].to_owned(),
    ] {
        replace(&path, &damaged);
        let error = LeaderFolder::open(folder).unwrap_err();
        assert!(!error.to_string().contains(&digits[..16]) && !format!("{error:?}").contains(&digits[..16]), "{error}");
        assert_refused(Err::<(), _>(error), FileErrorKind::Malformed, &path);
    }
    replace(&path, &original.replace("format = 1", "format = 9"));
    assert_refused(LeaderFolder::open(folder), FileErrorKind::Version, &path);
    fs::remove_file(&path).unwrap();
    assert_refused(LeaderFolder::open(folder), FileErrorKind::Unreadable, &path);
}

#[test]
fn a_missing_folder_is_said_to_be_missing() {
    let home = tempfile::tempdir().unwrap();
    let missing = home.path().join("leader-1");
    assert_refused(LeaderFolder::open(&missing), FileErrorKind::Unreadable, &missing);
}

#[test]
fn a_folder_is_made_whole_or_not_at_all() {
    let home = tempfile::tempdir().unwrap();
    let options = options(4, 1);
    let deal = || deal_group("g", options.rules, &options.addresses, policy(), &mut os_rng());
    let (group, secrets) = deal();
    let (_, foreign) = deal();
    let folder = home.path().join("leader-1");
    let refused = LeaderFolder::create(home.path(), &group, &foreign[0], &[]);
    assert_eq!(refused.unwrap_err().kind(), FileErrorKind::Altered);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);

    assert_eq!(LeaderFolder::create(home.path(), &group, &secrets[0], &[]).unwrap(), folder);
    assert_refused(LeaderFolder::create(home.path(), &group, &secrets[0], &[]), FileErrorKind::Exists, &folder);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    assert_eq!(LeaderFolder::open(&folder).unwrap().secrets.id, LeaderId::new(1).unwrap());
}
