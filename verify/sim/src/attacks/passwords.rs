//! Guesses at passwords.

use ringfort_crypto::login_key::UserKey;
use ringfort_crypto::oprf::OprfClient;
use ringfort_protocol::LeaderId;
use ringfort_protocol::leader::Command;
use ringfort_protocol::login::{
    AnnouncedKey, Hardening, PasswordRegistration, Registration, enrol_dealt_for_testing_only,
    leader_key_for_testing_only,
};
use ringfort_protocol::member::Secret;
use ringfort_protocol::rules::Rule;
use ringfort_protocol::wire::{self, LoginAnswer, LoginRequest};

use super::{Attack, go_on};
use crate::bench::{Bench, answer, l, user};
use crate::explore::{Ended, Stage, kept, made, need};

/// Guesses at passwords.
pub const ALL: &[Attack] = &[
    Attack::new("password-guessing", "a thousand guesses at a password", &[Rule::LoginThrottle], throttle),
    Attack::new(
        "offline-guessing",
        "a leader's whole database and an eavesdropper's traffic against a dictionary that holds the password",
        &[],
        offline,
    ),
    Attack::new(
        "borrowed-evaluations",
        "evaluations of a guess at one user's password, asked for under every other name, and a leader's whole database",
        &[],
        borrowed,
    ),
];

fn throttle(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.login_attempts_per_minute = 12);
    let key = deal_key(&mut bench)?;
    register_by_password(&mut bench, "ana", PASSWORD, &key)?;
    let mut evaluated = 0;
    for _ in 0..400 {
        let exporter = bench.dice.bytes();
        let link = bench.open(l(1), exporter);
        for _ in 0..3 {
            let (_, blinded) = need(OprfClient::blind(b"a guess", &mut bench.dice.0), "a guess hashes to a point")?;
            let request = LoginRequest::Blind { user: user("ana"), blinded: blinded.0 };
            let replies = bench.push_up(l(1), link, &wire::plain(&request));
            evaluated += usize::from(matches!(answer(&replies), Some(LoginAnswer::Evaluated { .. })));
        }
    }
    made(evaluated > 0, "the guesser was to get some evaluations")?;
    kept(evaluated <= 12, format!("{evaluated} evaluations in an instant"))?;
    let (ben, cy) = (bench.member("ben"), bench.member("cy"));
    go_on(&mut bench, ben, cy)?;
    Ok(format!("of 1200 guesses {evaluated} were evaluated; others logged in meanwhile"))
}

const PASSWORD: &[u8] = b"correct horse";

/// Registers a user by password, everywhere; what each leader stores of it.
fn register_by_password(
    bench: &mut Bench,
    name: &str,
    password: &[u8],
    key: &UserKey,
) -> Result<Vec<PasswordRegistration>, Ended> {
    let records = enrol_dealt_for_testing_only(&bench.group, &user(name), password, key, &mut bench.dice.0);
    let mut stored = Vec::new();
    for record in need(records, "the password hashes to a point")?.records {
        let opened = record.open(&bench.group, bench.secrets_of(record.leader));
        let Ok(Registration::Password(opened)) = opened else { return Err(Ended::NotMade("an opened record".into())) };
        stored.push(*opened);
        bench.command(record.leader, Command::Enrol(record));
    }
    Ok(stored)
}

/// A login key for a user of this group.
fn deal_key(bench: &mut Bench) -> Result<UserKey, Ended> {
    let threshold = u16::try_from(bench.group.rules.login_threshold()).unwrap_or(u16::MAX);
    need(UserKey::deal(u16::from(bench.group.rules.n()), threshold, &mut bench.dice.0).ok(), "a login key")
}

/// A guesser with stolen databases: what each leader it robbed stores of Ana.
struct Robber {
    databases: Vec<(LeaderId, PasswordRegistration)>,
    guess: Hardening,
    /// Everything it could get, with the key it is said to be made with.
    answers: Vec<(LeaderId, [u8; 128], AnnouncedKey)>,
}

impl Robber {
    /// Sets out to learn whether `guess` is Ana's password: evaluates it with the shares it has.
    fn guessing(
        bench: &mut Bench,
        stored: &[PasswordRegistration],
        robbed: &[u8],
        guess: &[u8],
    ) -> Result<Self, Ended> {
        let guess = need(Hardening::start(user("ana"), guess, &mut bench.dice.0), "a guess hashes to a point")?;
        let mut robber = Robber { databases: Vec::new(), guess, answers: Vec::new() };
        for number in robbed {
            let stolen = need(stored.get(usize::from(*number) - 1), "a database")?.clone();
            let evaluation = stolen.share().evaluate_blinded(&robber.guess.blinded(), &mut bench.dice.0);
            let evaluation = need(evaluation, "a login share evaluates")?.to_bytes();
            robber.answers.push((l(*number), evaluation, stolen.announced().clone()));
            robber.databases.push((l(*number), stolen));
        }
        Ok(robber)
    }

    /// Has a leader evaluate the guess under any name.
    fn ask(&mut self, bench: &mut Bench, leader: LeaderId, name: &str) -> bool {
        let exporter = bench.dice.bytes();
        let link = bench.open(leader, exporter);
        let request = LoginRequest::Blind { user: user(name), blinded: self.guess.blinded().0 };
        let replies = bench.push_up(leader, link, &wire::plain(&request));
        let Some(LoginAnswer::Evaluated { evaluation, key }) = answer(&replies) else { return false };
        self.answers.push((leader, evaluation, key));
        true
    }

    /// Whether any of the answers, also under other leaders' names and with Ana's key put in, confirm the guess.
    fn is_confirmed(&self, bench: &mut Bench) -> bool {
        let Some((robbed, database)) = self.databases.first() else { return false };
        let anas = database.announced();
        let mut keys: Vec<&AnnouncedKey> = self.answers.iter().map(|(_, _, key)| key).chain([anas]).collect();
        keys.sort();
        keys.dedup();
        let leaders: Vec<LeaderId> = bench.leader_ids().collect();
        let mut tries = Vec::new();
        for key in keys {
            for (at, (by, evaluation, told)) in self.answers.iter().enumerate() {
                for (other, second, also_told) in self.answers.iter().skip(at + 1) {
                    // Pairs, for f is 1 here; of one key, or taken for Ana's.
                    if (told == key && also_told == key) || key == anas {
                        tries.push((key, vec![(*by, evaluation), (*other, second)]));
                    }
                }
                // One answer, said to be by everybody.
                tries.push((key, leaders.iter().map(|leader| (*leader, evaluation)).collect()));
            }
        }
        tries.into_iter().any(|(key, answers)| {
            // The blinded guess is the same each time: one hardening per try.
            let mut hardening = self.guess.again_for_testing_only();
            let root = answers
                .into_iter()
                .find_map(|(leader, evaluation)| hardening.on_evaluation(&bench.group, leader, evaluation, key).root);
            root.is_some_and(|(root, _)| leader_key_for_testing_only(&root, &user("ana"), *robbed) == *database.key())
        })
    }
}

fn offline(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|_| {});
    let key = deal_key(&mut bench)?;
    let stored = register_by_password(&mut bench, "ana", PASSWORD, &key)?;
    let ana = bench.sit_with("ana", Secret::Password(zeroize::Zeroizing::new(PASSWORD.to_vec())), &[1, 2, 3, 4]);
    bench.pass(700);
    made(bench.view(ana).is_some(), "ana was to log in by password")?;
    let dictionary: [&[u8]; 5] = [b"123456", b"password", b"letmein", b"hunter2", PASSWORD];
    let matches = |bench: &mut Bench, robbed: &[u8]| {
        let mut hits = 0;
        for guess in dictionary {
            hits += usize::from(Robber::guessing(bench, &stored, robbed, guess)?.is_confirmed(bench));
        }
        Ok(hits)
    };
    kept(matches(&mut bench, &[4])? == 0, "one leader's database confirmed a guess")?;
    // The same procedure finds the password with f+1 databases, so it is no straw man.
    made(matches(&mut bench, &[3, 4])? == 1, "with two leaders' shares the guess was to be confirmed")?;
    let ben = bench.member("ben");
    go_on(&mut bench, ana, ben)?;
    Ok("one database confirms no guess, not even the right one; two databases, f+1, would".into())
}

/// Names of users with passwords, under which the guesser may ask.
const OTHERS: [&str; 5] = ["bob", "dan", "eve", "fay", "xerxes"];

fn borrowed(stage: &mut Stage) -> Result<String, Ended> {
    let mut bench = stage.bench(|policy| policy.login_attempts_per_minute = 4);
    let anas = deal_key(&mut bench)?;
    let stored = register_by_password(&mut bench, "ana", PASSWORD, &anas)?;
    for name in OTHERS {
        let own = deal_key(&mut bench)?;
        // Not even the same password helps.
        register_by_password(&mut bench, name, PASSWORD, &own)?;
    }
    // As it was when all users shared one key: whoever shares Ana's.
    register_by_password(&mut bench, "sid", b"another password", &anas)?;
    bench.register("kim");

    let mut robber = Robber::guessing(&mut bench, &stored, &[4], PASSWORD)?;
    let mut asked = 0;
    for name in OTHERS {
        for leader in [1, 2, 3] {
            asked += usize::from(robber.ask(&mut bench, l(leader), name));
        }
    }
    made(asked == OTHERS.len() * 3, "every name was to be evaluated for")?;
    let nobodys = ["kim", "nobody"].iter().any(|name| robber.ask(&mut bench, l(1), name));
    kept(!nobodys, "something was evaluated for who has no password")?;
    kept(!robber.is_confirmed(&mut bench), "evaluations under other names confirmed a guess at ana's password")?;
    // The same procedure would see it: with a name that shares Ana's key, and with one of her own attempts.
    for name in ["sid", "ana"] {
        let mut robber = Robber::guessing(&mut bench, &stored, &[4], PASSWORD)?;
        made(robber.ask(&mut bench, l(1), name), "an evaluation")?;
        made(robber.is_confirmed(&mut bench), "an evaluation with ana's key was to confirm the guess")?;
    }
    let ana = bench.sit_with("ana", Secret::Password(zeroize::Zeroizing::new(PASSWORD.to_vec())), &[1, 2, 3, 4]);
    bench.pass(700);
    let ben = bench.member("ben");
    go_on(&mut bench, ana, ben)?;
    Ok(format!(
        "{asked} evaluations of the right password under {} other names, with a leader's whole database: nothing learned",
        OTHERS.len()
    ))
}
