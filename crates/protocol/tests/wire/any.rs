//! Strategies that draw any message.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use ringfort_crypto::sign::Signature;
use ringfort_protocol::coordination::{Operation, SignedProposal};
use ringfort_protocol::data::Identity;
use ringfort_protocol::delivery::{Channel, Head, Receipt, RepairRequest, Since, StreamKey, Tail};
use ringfort_protocol::keys::{Base, ViewClaim};
use ringfort_protocol::login::{AnnouncedKey, Certificate, Denial, LoginAnswer, LoginRequest, Method, WireSignature};
use ringfort_protocol::motion::{Motion, MotionKind};
use ringfort_protocol::policy::Service;
use ringfort_protocol::statement::Statement;
use ringfort_protocol::succession::{Certified, Succession};
use ringfort_protocol::unheard::{Doubt, Unheard};
use ringfort_protocol::view::{Cause, Change, MemberEntry};
use ringfort_protocol::wire::{Few, LeaderNotice, MemberRequest, PeerMessage};
use ringfort_protocol::{Epoch, Incarnation, LeaderId, MemberId, Seq, SessionId, UserName, ViewDigest, ViewId};

pub fn user() -> impl Strategy<Value = UserName> {
    "[a-z0-9][a-z0-9._-]{0,31}".prop_map(|name| name.parse().unwrap())
}

pub fn entry() -> impl Strategy<Value = MemberEntry> {
    (user(), any::<u64>(), 0u64..16).prop_map(|(user, stay, seed)| {
        Identity::generate(user, Incarnation(stay), &mut ChaCha20Rng::seed_from_u64(seed)).entry()
    })
}

fn member() -> impl Strategy<Value = MemberId> {
    (user(), any::<u64>()).prop_map(|(user, stay)| MemberId { user, incarnation: Incarnation(stay) })
}

fn bytes<const N: usize>() -> impl Strategy<Value = [u8; N]> {
    prop::collection::vec(any::<u8>(), N).prop_map(|bytes| bytes.try_into().unwrap())
}

fn signature() -> impl Strategy<Value = WireSignature> {
    bytes::<64>().prop_map(|bytes| WireSignature(Signature::from_bytes(bytes)))
}

fn digest() -> impl Strategy<Value = ViewDigest> {
    bytes::<32>().prop_map(ViewDigest)
}

fn view() -> impl Strategy<Value = ViewId> {
    (any::<u64>(), digest()).prop_map(|(epoch, digest)| ViewId { epoch: Epoch(epoch), digest })
}

fn motion() -> impl Strategy<Value = Motion> {
    let kind = prop::sample::select(vec![MotionKind::Admit, MotionKind::Expel]);
    (kind, user()).prop_map(|(kind, user)| Motion { kind, user })
}

fn cause() -> impl Strategy<Value = Cause> {
    prop::sample::select(vec![
        Cause::Left,
        Cause::Lost,
        Cause::Expelled,
        Cause::Expired,
        Cause::SessionOver,
        Cause::Elsewhere,
    ])
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        entry().prop_map(Change::Added),
        (user(), cause()).prop_map(|(user, cause)| Change::Removed(user, cause)),
    ]
}

fn channel() -> impl Strategy<Value = Channel> {
    prop_oneof![
        prop::sample::select(vec![Service::BestEffort, Service::Reliable, Service::Fifo]).prop_map(Channel::Group),
        user().prop_map(Channel::Private),
    ]
}

fn head() -> impl Strategy<Value = Head> {
    let since = prop_oneof![
        any::<[u8; 32]>().prop_map(|digest| Since::View(ViewDigest(digest))),
        any::<u64>().prop_map(|stay| Since::Stay(Incarnation(stay))),
        Just(Since::Unsaid),
    ];
    (channel(), since, any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(channel, since, start, next, kept)| Head {
        channel,
        since,
        start: Seq(start),
        next: Seq(next),
        kept: Seq(kept),
    })
}

fn tail() -> impl Strategy<Value = Tail> {
    prop_oneof![
        (member(), head()).prop_map(|(sender, head)| Tail::Stream(sender, head)),
        member().prop_map(Tail::Complete),
    ]
}

fn receipt() -> impl Strategy<Value = Receipt> {
    (channel(), any::<u64>(), any::<u64>()).prop_map(|(channel, first, last)| Receipt {
        channel,
        first: Seq(first),
        last: Seq(last),
    })
}

fn repair() -> impl Strategy<Value = RepairRequest> {
    (member(), channel(), 1u64..1 << 40, prop::collection::vec((1u64..90, 0u64..16), 1..16)).prop_map(
        |(sender, channel, mut next, gaps)| {
            let mut ranges = Vec::new();
            for (gap, more) in gaps {
                let first = next + gap;
                next = first + more;
                ranges.push((Seq(first), Seq(next)));
            }
            RepairRequest::of(StreamKey { sender, channel }, ranges).unwrap()
        },
    )
}

fn claim() -> impl Strategy<Value = ViewClaim> {
    let base = prop_oneof![Just(Base::Empty), digest().prop_map(Base::View), Just(Base::Omitted)];
    let changes = prop::collection::vec(change(), 0..4);
    let statement = (any::<u64>(), signature()).prop_map(|(at_ms, signature)| Statement { at_ms, signature });
    (any::<u64>(), view(), any::<u64>(), base, changes, bytes::<128>(), statement).prop_map(
        |(number, view, refreshes, base, changes, share, statement)| ViewClaim {
            number,
            view,
            refreshes,
            base,
            changes,
            share,
            statement,
        },
    )
}

fn method() -> impl Strategy<Value = Method> {
    let certificate =
        (entry(), any::<u64>(), any::<u8>(), signature()).prop_map(|(e, expires, authority, signature)| {
            let (user, key) = (e.id.user, e.signing);
            Method::Certificate(Certificate { user, key, expires_unix_s: expires, authority, signature })
        });
    prop_oneof![Just(Method::Password), Just(Method::Key), certificate, Just(Method::Session)]
}

pub fn login_request() -> impl Strategy<Value = LoginRequest> {
    let ack = (bytes::<32>(), entry(), bytes::<32>(), signature(), prop::option::of(signature()));
    prop_oneof![
        (user(), bytes::<32>()).prop_map(|(user, blinded)| LoginRequest::Blind { user, blinded }),
        (user(), method(), bytes::<32>(), prop::option::of(signature()))
            .prop_map(|(user, method, n1, asks)| LoginRequest::Init { user, method, n1, asks }),
        ack.prop_map(|(n3, entry, tag, possession, identity)| LoginRequest::Ack {
            n3,
            incarnation: entry.id.incarnation,
            signing: entry.signing,
            sealing: entry.sealing,
            tag,
            possession,
            identity,
        }),
    ]
}

pub fn login_answer() -> impl Strategy<Value = LoginAnswer> {
    let denial = prop_oneof![
        Just(Denial::NotAuthentic),
        any::<u64>().prop_map(|stay| Denial::Expelled(Incarnation(stay))),
        any::<u64>().prop_map(|last| Denial::Incarnation(Incarnation(last))),
        Just(Denial::Throttled),
        Just(Denial::Full),
        Just(Denial::Closed),
        Just(Denial::Outvoted),
        any::<u64>().prop_map(|last| Denial::NoSession(Incarnation(last))),
        any::<u64>().prop_map(|last| Denial::Unsettled(Incarnation(last))),
    ];
    prop_oneof![
        (bytes::<128>(), prop::collection::vec(bytes::<32>(), 0..=22))
            .prop_map(|(evaluation, key)| LoginAnswer::Evaluated { evaluation, key: AnnouncedKey(key) }),
        (bytes::<32>(), bytes::<8>(), bytes::<32>(), signature())
            .prop_map(|(n2, last, tag, signature)| LoginAnswer::KeyDist { n2, last, tag, signature }),
        (denial, signature()).prop_map(|(reason, signature)| LoginAnswer::Denied { reason, signature }),
    ]
}

pub fn member_request() -> impl Strategy<Value = MemberRequest> {
    prop_oneof![
        (bytes::<16>(), bytes::<16>(), prop::option::of(view()))
            .prop_map(|(challenge, answer, installed)| MemberRequest::Heartbeat { challenge, answer, installed }),
        prop::option::of(digest()).prop_map(|have| MemberRequest::Claim { have }),
        digest().prop_map(MemberRequest::PastClaim),
        (digest(), prop::option::of(user())).prop_map(|(view, after)| MemberRequest::Snapshot { view, after }),
        repair().prop_map(MemberRequest::Repair),
        Just(MemberRequest::Leave),
        (motion(), any::<bool>()).prop_map(|(motion, yes)| MemberRequest::Vote { motion, yes }),
        prop::collection::vec(any::<u8>(), 0..64).prop_map(MemberRequest::Accuse),
        (prop::collection::vec(head(), 0..4), any::<bool>())
            .prop_map(|(heads, complete)| MemberRequest::Heads { heads: Few::new(heads).unwrap(), complete }),
        prop::collection::vec(member(), 0..4).prop_map(MemberRequest::Fates),
        any::<u32>().prop_map(MemberRequest::Successions),
        prop::collection::vec(any::<u8>(), 0..64).prop_map(MemberRequest::Service),
    ]
}

pub fn leader_notice() -> impl Strategy<Value = LeaderNotice> {
    let snapshot = (digest(), prop::option::of(user()), prop::collection::vec(entry(), 0..4), any::<bool>());
    prop_oneof![
        claim().prop_map(LeaderNotice::Claim),
        claim().prop_map(LeaderNotice::PastClaim),
        snapshot.prop_map(|(view, after, entries, last)| LeaderNotice::Snapshot { view, after, entries, last }),
        (bytes::<16>(), bytes::<16>(), view()).prop_map(|(answer, challenge, view)| LeaderNotice::HeartbeatAnswer {
            answer,
            challenge,
            view
        }),
        repair().prop_map(LeaderNotice::Wanted),
        (cause(), any::<u64>()).prop_map(|(cause, epoch)| LeaderNotice::Ended { cause, epoch: Epoch(epoch) }),
        (motion(), any::<u32>()).prop_map(|(motion, left_ms)| LeaderNotice::Asked { motion, left_ms }),
        prop::collection::vec(tail(), 0..4).prop_map(|tails| LeaderNotice::Tails(Few::new(tails).unwrap())),
        prop::collection::vec(receipt(), 0..4).prop_map(|list| LeaderNotice::Received(Few::new(list).unwrap())),
        (prop::collection::vec((member(), cause()), 0..4), prop::collection::vec(member(), 0..4))
            .prop_map(|(over, open)| LeaderNotice::Fates { over, open }),
        any::<u32>().prop_map(LeaderNotice::Generation),
        prop::collection::vec(any::<u8>(), 0..64).prop_map(LeaderNotice::Service),
        prop::collection::vec(certified(), 0..3).prop_map(|list| LeaderNotice::Successions(Few::new(list).unwrap())),
    ]
}

fn certified() -> impl Strategy<Value = Certified> {
    let keys = || prop::collection::vec(bytes::<32>(), 0..4);
    let votes = prop::collection::vec((1u8..65, signature()), 0..4);
    (bytes::<32>(), any::<u32>(), any::<u32>(), (keys(), keys()), bytes::<32>(), votes).prop_map(
        |(group, base, number, (a, b), deals, votes)| Certified {
            succession: Succession { group, base, number, newcomer: None, keys: [a, b], deals },
            votes: votes.into_iter().map(|(leader, vote)| (LeaderId::new(leader).unwrap(), vote)).collect(),
        },
    )
}

pub fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        entry().prop_map(Operation::Join),
        (member(), cause()).prop_map(|(member, cause)| Operation::Remove(member, cause)),
        any::<u64>().prop_map(Operation::Refresh),
        any::<u64>().prop_map(Operation::Session),
    ]
}

pub fn peer_message() -> impl Strategy<Value = PeerMessage> {
    let proposal = (1u8..65, bytes::<32>(), operation(), any::<bool>(), any::<u64>(), signature()).prop_map(
        |(leader, session, operation, accepted, takes_back, signature)| {
            let (leader, session) = (LeaderId::new(leader).unwrap(), SessionId(session));
            SignedProposal { leader, session, operation, accepted, takes_back: Incarnation(takes_back), signature }
        },
    );
    prop_oneof![
        prop::collection::vec(proposal, 0..4).prop_map(PeerMessage::Proposals),
        bytes::<32>().prop_map(PeerMessage::Status),
        prop::collection::vec(bytes::<32>(), 0..300).prop_map(PeerMessage::Buckets),
        unheard(),
    ]
}

fn unheard() -> impl Strategy<Value = PeerMessage> {
    let doubt = (member(), any::<u64>(), any::<bool>(), any::<bool>()).prop_map(|(stay, life, lost, found)| Doubt {
        stay,
        life,
        lost,
        found,
    });
    let lists = (prop::collection::vec(member(), 0..4), prop::collection::vec(doubt, 0..4));
    let said = (1u8..65, bytes::<32>(), any::<u64>(), lists, signature());
    said.prop_map(|(leader, session, number, (members, doubts), signature)| {
        let (leader, session) = (LeaderId::new(leader).unwrap(), SessionId(session));
        PeerMessage::Unheard(Unheard { leader, session, number, members, doubts, signature })
    })
}
