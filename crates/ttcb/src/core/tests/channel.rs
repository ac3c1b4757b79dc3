//! What a frame of the control channel has to pass.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::sign::SigningKey;
use ringfort_kernel::Time;

use super::super::frame::{Body, ClockWord, FRAME_BYTES, RECORDS};
use super::super::group::{Group, Secrets};
use super::super::ids::{Boot, Epoch, Index};
use super::super::peers::{Peers, Refusal};
use super::super::rules::Rules;

struct Two {
    group: Group,
    secrets: Vec<Secrets>,
}

impl Two {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let secrets: Vec<Secrets> = (0..2)
            .map(|_| Secrets { signing: SigningKey::generate(&mut rng), exchange: KemSecret::generate(&mut rng) })
            .collect();
        let members = secrets.iter().zip(["one", "two"]).map(|(secret, name)| secret.member(name)).collect();
        Two { group: Group::new(members).unwrap(), secrets }
    }

    fn start(&self, place: usize, epoch: u32, boot: u8) -> Peers {
        let start: (Epoch, Boot) = (Epoch(epoch), [boot; 16]);
        Peers::new(&self.group, index(place), &self.secrets[place], start, Rules::default(), Time::ZERO)
    }
}

fn index(place: usize) -> Index {
    Index::new(place).unwrap()
}

/// The next frame to the other.
fn frame(from: &mut Peers, to: usize) -> [u8; FRAME_BYTES] {
    from.next_round();
    let (echo_epoch, echo_boot, _) = from.echo_to(index(to));
    let body = Body { echo_epoch, echo_boot, clock: ClockWord::default(), records: [None; RECORDS] };
    from.seal(index(to), &body).unwrap()
}

fn opened(by: &mut Peers, frame: &[u8]) -> Result<bool, Refusal> {
    by.open(Time::ZERO, frame).map(|heard| heard.new_epoch)
}

#[test]
fn a_frame_counts_once_its_sender_has_heard_the_receiver() {
    let two = Two::new();
    let (mut one, mut other) = (two.start(0, 1, 1), two.start(1, 1, 2));
    assert_eq!(opened(&mut other, &frame(&mut one, 1)), Err(Refusal::NoEcho), "it has heard nobody");
    let answer = frame(&mut other, 0);
    assert_eq!(opened(&mut one, &answer), Ok(false));
    let counted = frame(&mut one, 1);
    assert_eq!(opened(&mut other, &counted), Ok(false));
    assert_eq!(opened(&mut other, &counted), Err(Refusal::Replayed));
    let (older, newer) = (frame(&mut one, 1), frame(&mut one, 1));
    assert_eq!(opened(&mut other, &newer), Ok(false));
    assert_eq!(opened(&mut other, &older), Err(Refusal::Replayed), "one that is newer has counted");
    for at in (0..FRAME_BYTES).step_by(7) {
        let mut altered = frame(&mut one, 1);
        altered[at] ^= 1;
        assert!(opened(&mut other, &altered).is_err(), "altered at {at}");
    }
    let its_own = frame(&mut one, 1);
    assert_eq!(opened(&mut one, &its_own), Err(Refusal::Malformed), "it is not for it");
    assert_eq!(opened(&mut one, &answer[1..]), Err(Refusal::Malformed));
}

#[test]
fn of_an_earlier_start_nothing_counts_and_a_second_one_of_the_same_number_is_noticed() {
    let two = Two::new();
    let (mut one, mut other) = (two.start(0, 4, 1), two.start(1, 1, 2));
    let _ = opened(&mut other, &frame(&mut one, 1));
    assert_eq!(opened(&mut one, &frame(&mut other, 0)), Ok(false));
    let recorded = frame(&mut one, 1);
    assert_eq!(opened(&mut other, &recorded), Ok(false));

    let mut forged = frame(&mut one, 1);
    forged[8] ^= 1;
    assert_eq!(opened(&mut other, &forged), Err(Refusal::NotAuthentic), "anybody can name another start");
    let mut copy = two.start(0, 4, 9);
    assert_eq!(opened(&mut other, &frame(&mut copy, 1)), Err(Refusal::Clone));

    let mut again = two.start(0, 5, 3);
    assert_eq!(opened(&mut other, &frame(&mut again, 1)), Err(Refusal::NoEcho));
    assert_eq!(opened(&mut again, &frame(&mut other, 0)), Ok(false));
    assert_eq!(opened(&mut other, &frame(&mut again, 1)), Ok(true), "it was started again");
    assert_eq!(opened(&mut other, &frame(&mut one, 1)), Err(Refusal::OldEpoch));
    assert_eq!(opened(&mut other, &recorded), Err(Refusal::OldEpoch));

    let mut fresh = two.start(1, 2, 7);
    assert_eq!(
        opened(&mut fresh, &recorded),
        Err(Refusal::NoEcho),
        "it was meant for an earlier start of the receiver"
    );
}

#[test]
fn another_group_s_frames_are_none() {
    let two = Two::new();
    let mut one = two.start(0, 1, 1);
    let alone = Group::new(vec![two.secrets[1].member("two"), two.secrets[0].member("one")]).unwrap();
    let mut elsewhere =
        Peers::new(&alone, index(1), &two.secrets[0], (Epoch(1), [2; 16]), Rules::default(), Time::ZERO);
    let stranger = frame(&mut elsewhere, 0);
    assert_eq!(opened(&mut one, &stranger), Err(Refusal::NotAuthentic));
}
