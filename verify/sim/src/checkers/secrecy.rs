//! No key below the threshold: the secrets of all hostile leaders do not give the key of the present view
//! (seed 002 §3.3; B2).

use ringfort_crypto::threshold::Evaluation;
use ringfort_protocol::keys::{group_key, view_point};
use ringfort_protocol::view::ViewHasher;

use super::{Checker, End};
use crate::dice::Dice;

/// Judged at the end by trying: every hostile share of the present view, completed with shares from elsewhere.
pub struct Secrecy;

/// Refreshes tried, to find the count that the view's digest commits to.
const REFRESHES_MAX: u64 = 10_000;

impl Checker for Secrecy {
    fn name(&self) -> &'static str {
        "secrecy"
    }

    fn finish(&mut self, end: &End<'_>, wrong: &mut Vec<String>) {
        let world = end.world;
        let member = world.users.iter().filter_map(|u| u.client).find_map(|c| world.client(c).member.as_ref());
        let Some((view, members, key, me)) =
            member.and_then(|m| Some((m.view()?, m.members()?, m.key_for_testing_only()?, m.id()?)))
        else {
            return;
        };
        let group = &world.group;
        let session = group.session_of(me.incarnation.session());
        let hasher = ViewHasher::new(group, session);
        let count = (0..REFRESHES_MAX).find(|count| hasher.view_id(view.epoch, *count, members.hash()) == view);
        let Some(refreshes) = count else {
            wrong.push(format!("view {view} is not the digest of its own content"));
            return;
        };
        let mut dice = Dice::new(world.setup.seed, "secrecy");
        let point = view_point(group, session, view, refreshes);
        let other = view_point(group, session, view, refreshes + 1);
        let gang = world.gang();
        let mut shares: Vec<(u16, Evaluation)> =
            gang.iter().map(|s| (s.id.share_index(), s.group_share.evaluate(&point, &mut dice.0))).collect();
        // In place of what is missing: their own shares under other numbers, and of other views.
        for index in 1..=u16::from(group.rules.n()) {
            if let Some(secrets) = gang.first()
                && shares.iter().all(|(i, _)| *i != index)
            {
                shares.push((index, secrets.group_share.evaluate(&other, &mut dice.0)));
            }
        }
        let refs: Vec<(u16, &Evaluation)> = shares.iter().map(|(i, e)| (*i, e)).collect();
        for count in 1..=refs.len() {
            let some = refs.get(..count).unwrap_or_default();
            let stolen = group.group_keys.combine(&point, some).map(|o| *group_key(&o, view).expose());
            if stolen == Some(key) {
                wrong.push(format!("{} hostile leaders computed the key of {view}", gang.len()));
            }
            if gang.len() < group.rules.key_threshold() && group.group_keys.verify_and_combine(&point, some).is_ok() {
                wrong.push(format!("shares of {} hostile leaders verify as {count} good ones", gang.len()));
            }
        }
    }
}
