//! What may happen, scene by scene: small enough to try every order.

use ringfort_protocol::view::Cause;

use super::properties::happened;
use super::{Coordinated, Op, Whole, Wish};

/// Something that must happen in some state, and how to tell.
pub type Event = (&'static str, fn(&Coordinated, &Whole) -> bool);

/// A bounded world.
pub struct Scene {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Everything that anybody may say, and so the alphabet.
    pub wishes: &'static [Wish],
    /// What users and operators may ask, at any time, once of each of the leaders whose bits are set.
    pub asked: &'static [(Op, u8)],
    /// What the hacked leader says, as a proposal and as accepted, to anybody.
    pub lies: &'static [Op],
    /// What the hacked leader signs in an honest leader's name, on that leader's link.
    pub forgeries: &'static [Op],
    /// How many things the hacked leader says; 255 for any number.
    pub lies_max: u8,
    /// How often honest leaders crash.
    pub crashes_max: u8,
    /// Whether each user has one pair of keys for each stay.
    pub users_are_honest: bool,
    /// A user whose program and keys are the attacker's.
    pub attackers_user: Option<u8>,
    /// What must happen in some state.
    pub sometimes: &'static [Event],
    /// Whether it is left for the larger run.
    pub large: bool,
}

const fn join(user: u8, stay: u8) -> Wish {
    Wish::Join { user, stay, keys: 0 }
}

const fn remove(user: u8, stay: u8, cause: Cause) -> Wish {
    Wish::Remove { user, stay, cause }
}

/// All three honest leaders.
const ALL: u8 = 0b111;
/// f+1 of them: by symmetry, these.
const TWO: u8 = 0b011;
/// One.
const ONE: u8 = 0b100;

/// A scene with nothing in it, to build on.
const EMPTY: Scene = Scene {
    name: "",
    about: "",
    wishes: &[],
    asked: &[],
    lies: &[],
    forgeries: &[],
    lies_max: u8::MAX,
    crashes_max: 0,
    users_are_honest: true,
    attackers_user: None,
    sometimes: &[],
    large: false,
};

/// All scenes.
pub const SCENES: &[Scene] = &[
    Scene {
        name: "join",
        about: "a user joins; the hacked leader says anything of it, any number of times, and forges others' words",
        wishes: &[join(0, 1)],
        asked: &[(0, ALL)],
        lies: &[0],
        forgeries: &[0],
        attackers_user: Some(0),
        sometimes: &[
            ("a join was accepted", happened::join),
            ("a leader caught up", happened::caught_up),
            ("the attacker's user was in", happened::insider),
        ],
        ..EMPTY
    },
    Scene {
        name: "stranger",
        about: "nobody asks for anything of the user whom the hacked leader wants in; another joins",
        wishes: &[join(0, 1), join(1, 1)],
        asked: &[(0, ALL)],
        lies: &[0, 1],
        forgeries: &[1],
        lies_max: 2,
        sometimes: &[("a join was accepted", happened::join)],
        ..EMPTY
    },
    Scene {
        name: "leave",
        about: "a user joins and leaves, while old words are still under way",
        wishes: &[join(0, 1), remove(0, 1, Cause::Left)],
        asked: &[(0, TWO), (1, TWO)],
        lies: &[0, 1],
        lies_max: 1,
        sometimes: &[
            ("a join was accepted", happened::join),
            ("a removal was accepted", happened::removal),
            ("a leader caught up", happened::caught_up),
        ],
        ..EMPTY
    },
    Scene {
        name: "expel",
        about: "operators expel a member; one hacked leader's word for it is not enough",
        wishes: &[join(0, 1), remove(0, 1, Cause::Expelled)],
        asked: &[(0, TWO), (1, TWO)],
        lies: &[1],
        lies_max: 1,
        sometimes: &[("a join was accepted", happened::join), ("an expulsion was accepted", happened::expelled)],
        ..EMPTY
    },
    Scene {
        name: "two keys",
        about: "a dishonest user announces two pairs of keys for one stay, different ones to different leaders",
        wishes: &[join(0, 1), Wish::Join { user: 0, stay: 1, keys: 1 }],
        asked: &[(0, ALL), (1, TWO)],
        lies: &[0, 1],
        lies_max: 1,
        users_are_honest: false,
        sometimes: &[
            ("a join was accepted", happened::join),
            ("both pairs of keys were accepted", happened::both_keys),
        ],
        ..EMPTY
    },
    Scene {
        name: "two users",
        about: "two users join at the same time: views differ for a while, and agree at rest",
        wishes: &[join(0, 1), join(1, 1)],
        asked: &[(0, TWO), (1, TWO)],
        lies: &[0],
        lies_max: 1,
        sometimes: &[
            ("a join was accepted", happened::join),
            ("two views of one epoch, for a while", happened::two_views),
        ],
        ..EMPTY
    },
    Scene {
        name: "crash",
        about: "an honest leader is killed at any moment of a join, and starts from its disk",
        wishes: &[join(0, 1)],
        asked: &[(0, ALL)],
        lies: &[0],
        lies_max: 2,
        crashes_max: 1,
        sometimes: &[
            ("a join was accepted", happened::join),
            ("a leader crashed, and all came to rest", happened::recovered),
            ("a leader caught up", happened::caught_up),
        ],
        ..EMPTY
    },
    Scene {
        name: "rejoin",
        about: "a user joins, leaves and comes back, in any order of words",
        wishes: &[join(0, 1), remove(0, 1, Cause::Left), join(0, 2)],
        asked: &[(0, TWO), (1, TWO), (2, TWO)],
        lies: &[0, 1, 2],
        lies_max: 1,
        sometimes: &[
            ("a join was accepted", happened::join),
            ("a removal was accepted", happened::removal),
            ("a second stay was accepted", happened::rejoin),
        ],
        large: true,
        ..EMPTY
    },
    Scene {
        name: "leave, more lies",
        about: "a user joins and leaves; the hacked leader says three things of it to anybody",
        wishes: &[join(0, 1), remove(0, 1, Cause::Left)],
        asked: &[(0, ALL), (1, TWO)],
        lies: &[0, 1],
        lies_max: 3,
        sometimes: &[("a join was accepted", happened::join), ("a removal was accepted", happened::removal)],
        large: true,
        ..EMPTY
    },
    Scene {
        name: "two causes",
        about: "a member is lost for some leaders, leaves for others and is expelled at others: one removal",
        wishes: &[join(0, 1), remove(0, 1, Cause::Left), remove(0, 1, Cause::Lost), remove(0, 1, Cause::Expelled)],
        asked: &[(0, TWO), (1, ONE), (2, ONE), (3, TWO)],
        lies: &[3],
        lies_max: 1,
        sometimes: &[("a removal was accepted", happened::removal), ("an expulsion was accepted", happened::expelled)],
        large: true,
        ..EMPTY
    },
    Scene {
        name: "crash and leave",
        about: "an honest leader is killed at any moment of a join and a leave",
        wishes: &[join(0, 1), remove(0, 1, Cause::Left)],
        asked: &[(0, TWO), (1, TWO)],
        lies: &[0, 1],
        lies_max: 1,
        crashes_max: 1,
        sometimes: &[
            ("a removal was accepted", happened::removal),
            ("a leader crashed, and all came to rest", happened::recovered),
        ],
        large: true,
        ..EMPTY
    },
];

/// A scene by its name.
pub fn scene(name: &str) -> Option<&'static Scene> {
    SCENES.iter().find(|scene| scene.name == name)
}
