//! Who could read, and when.

use super::*;

#[test]
fn a_log_tells_who_could_read_at_every_moment_of_a_stay() {
    let ana = story();
    let log = Log::from_bytes(&ana.bytes).unwrap();
    let audited = verify(&log, &ana.group).unwrap();
    assert_eq!((audited.views.len(), audited.is_whole, audited.head), (4, true, ana.keeper.head()));
    assert_eq!(audited.covers(), (START_MS, START_MS + 110_000));
    let who = |ms| at(&audited, ms).map(|a| (names(&a.readers).join(" "), names(&a.perhaps).join(" ")));
    let known = |readers: &str, perhaps: &str| Some((readers.to_owned(), perhaps.to_owned()));
    assert_eq!(audited.who(START_MS - 1), None, "before the stay");
    assert_eq!(who(0), known("ana", ""));
    assert_eq!(who(9_999), known("ana", ""));
    assert_eq!(who(10_000), known("ana", "bo"), "the very moment of the change");
    assert_eq!(who(10_001), known("ana bo", ""));
    assert_eq!(who(29_999), known("ana bo", ""));
    assert_eq!(who(30_001), known("ana", ""));
    assert_eq!(who(110_000), known("ana", ""));
    assert_eq!(who(110_001), None, "after the stay");
    let answer = at(&audited, 25_000).unwrap();
    assert_eq!(answer.verdict(&name("bo")), Verdict::Could);
    assert_eq!(answer.verdict(&name("eve")), Verdict::CouldNot);
    assert_eq!(at(&audited, 10_000).unwrap().verdict(&name("bo")), Verdict::Perhaps);
}

#[test]
fn a_log_goes_on_over_stays_and_tells_the_time_between_as_unknown() {
    let mut ana = story();
    ana.stay = 2;
    ana.epoch += 3;
    ana.members.insert(identity("ana", 2).entry());
    let words = ana.words(&[(3, 200_000), (4, 200_000)]);
    ana.installs(200_000, vec![], words);
    ana.ends(250_000, None);
    let log = Log::from_bytes(&ana.bytes).unwrap();
    let audited = verify(&log, &ana.group).unwrap();
    assert_eq!(log.segments.len(), 2);
    assert!(at(&audited, 150_000).is_none() && at(&audited, 225_000).is_some() && at(&audited, 260_000).is_none());
    assert_eq!(log.to_bytes(), ana.bytes);
    let tail = resume(&ana.bytes).unwrap().unwrap();
    assert_eq!((tail.head, tail.bytes), (ana.keeper.head(), ana.bytes.len()));
    let torn = [ana.bytes.as_slice(), &[0, 0, 1]].concat();
    assert_eq!(resume(&torn).unwrap().unwrap(), tail, "what a crash tore is left out");
}

#[test]
fn f_leaders_do_not_move_the_time() {
    for lie in [0, 9_000_000_000, u64::MAX - START_MS] {
        let mut ana = Scribe::new("ana");
        let words = ana.words(&[(1, 0), (2, 0)]);
        ana.installs(0, vec![], words);
        ana.epoch += 1;
        ana.members.apply(&came("bo"));
        // Leaders 1 and 4 certify; 4 lies. Leader 2's word comes later.
        let words = ana.words(&[(1, 9_950), (4, lie)]);
        ana.installs(10_000, vec![came("bo")], words);
        let late = ana.words(&[(2, 9_990)]);
        ana.keep(11_000, |keeper, cx, group, me, _| keeper.on_words(cx, group, me, late));
        ana.ends(50_000, None);
        let log = Log::from_bytes(&ana.bytes).unwrap();
        let audited = verify(&log, &ana.group).unwrap();
        let bo = |ms| at(&audited, ms).unwrap().verdict(&name("bo"));
        assert_eq!((bo(9_949), bo(10_001)), (Verdict::CouldNot, Verdict::Could), "{lie}");
    }
}

#[test]
fn honest_leaders_hold_a_wrong_clock_against_its_member() {
    let mut ana = Scribe::new("ana");
    let words = ana.words(&[(1, 0), (2, 0), (3, 0)]);
    ana.installs(0, vec![], words);
    ana.epoch += 1;
    ana.members.apply(&came("bo"));
    // Ana's clock jumps five minutes ahead.
    let words = ana.words(&[(1, 9_990), (2, 9_995), (3, 10_000)]);
    ana.installs(310_000, vec![came("bo")], words);
    ana.ends(400_000, None);
    let log = Log::from_bytes(&ana.bytes).unwrap();
    let audited = verify(&log, &ana.group).unwrap();
    let bo = |ms| at(&audited, ms).unwrap().verdict(&name("bo"));
    assert_eq!((bo(9_000), bo(200_000), bo(310_001)), (Verdict::CouldNot, Verdict::Perhaps, Verdict::Could));
}

#[test]
fn a_clock_that_is_set_back_in_the_middle_hides_no_moment() {
    const BACK: u64 = 7_200_000;
    let mut ana = Scribe::new("ana");
    let by = |at| [(1, at), (2, at), (3, at)];
    let begin = BACK;
    let words = ana.words(&by(begin));
    ana.installs(begin, vec![], words);
    for (number, name) in (1..).zip(["bo", "cy", "di"]) {
        ana.epoch += 1;
        ana.members.apply(&came(name));
        let real = begin + 2_000 * number;
        let words = ana.words(&by(real));
        // Between Bo and Cy, Ana's clock goes back by two hours.
        ana.installs(if number > 1 { real - BACK } else { real }, vec![came(name)], words);
    }
    ana.ends(8_000, None);
    let log = Log::from_bytes(&ana.bytes).unwrap();
    let audited = verify(&log, &ana.group).unwrap();
    assert_eq!(audited.covers(), (START_MS + begin, START_MS + begin + 8_000));
    let who = |ms| at(&audited, begin + ms).map(|a| (names(&a.readers).join(" "), names(&a.perhaps).join(" ")));
    let known = |readers: &str| Some((readers.to_owned(), String::new()));
    assert_eq!((who(1_000), who(3_000)), (known("ana"), known("ana bo")));
    assert_eq!((who(5_000), who(7_000)), (known("ana bo cy"), known("ana bo cy di")));
    assert_eq!((at(&audited, 5_000), who(8_001)), (None, None));
}

#[test]
fn a_receipt_says_what_the_log_says_and_no_more() {
    let mut ana = story();
    ana.stay = 2;
    ana.epoch += 3;
    ana.members.insert(identity("ana", 2).entry());
    let words = ana.words(&[(3, 200_000), (4, 200_000)]);
    ana.installs(200_000, vec![], words);
    ana.ends(250_000, None);
    let log = Log::from_bytes(&ana.bytes).unwrap();
    let audited = verify(&log, &ana.group).unwrap();
    for ms in (0..260_000).step_by(500) {
        let receipt = Receipt::new(&audited, START_MS + ms, Some(name("bo")));
        let answer = at(&audited, ms);
        assert_eq!(receipt.is_some(), answer.is_some(), "{ms}");
        let (Some(receipt), Some(answer)) = (receipt, answer) else { continue };
        let read = Receipt::from_bytes(&receipt.to_bytes()).unwrap();
        let told = read.verify(&ana.group).unwrap().unwrap();
        assert_eq!((told.readers, told.perhaps), (answer.readers, answer.perhaps), "{ms}");
    }
    let receipt = Receipt::new(&audited, START_MS + 5_000, None).unwrap().to_bytes();
    assert!(receipt.len() < ana.bytes.len() / 2, "{} of {}", receipt.len(), ana.bytes.len());
    for place in 0..receipt.len() {
        let mut altered = receipt.clone();
        altered[place] ^= 1;
        let told = Receipt::from_bytes(&altered).ok().and_then(|r| r.verify(&ana.group).ok());
        // The question is the reader's own; the rest is the proof.
        let question = (19..28).contains(&place);
        assert!(told.is_none() || question, "byte {place}");
    }
}

#[test]
fn an_entry_costs_the_same_at_any_size() {
    let mut sizes = Vec::new();
    for count in [10, 1_000] {
        let mut ana = Scribe::new("ana");
        (1..count).for_each(|i| ana.members.insert(identity(&format!("m{i}"), 1).entry()));
        ana.rekeys(0);
        let opening = ana.bytes.len();
        ana.rekeys(1);
        let rekey = ana.bytes.len() - opening;
        ana.changes(2, vec![came("bo")]);
        sizes.push((opening, rekey, ana.bytes.len() - opening - rekey));
        println!("{count} members: opening {opening} B, rekey {rekey} B, join {} B", sizes.last().unwrap().2);
    }
    assert_eq!((sizes[0].1, sizes[0].2), (sizes[1].1, sizes[1].2));
    assert!(sizes[1].1 < 400 && sizes[1].2 < 500 && sizes[1].0 < 100_000, "{sizes:?}");
}
