//! The worlds that are checked besides the scenes of the coordination.

use crate::figure3::Figure3;
use crate::login::World;

/// Worlds of the login, and whether they are left for the larger run.
pub fn logins() -> Vec<(&'static str, World, bool)> {
    let password = World {
        logins: vec![(1, 1), (2, 1), (4, 1)],
        hostile_links: vec![1],
        inits_max: 1,
        by_key: false,
        links_are_sound: true,
        without: None,
    };
    let by_key = World { by_key: true, ..password.clone() };
    let again = World { logins: vec![(1, 1), (4, 1), (1, 2)], ..password.clone() };
    let key_again = World { by_key: true, ..again.clone() };
    let wide = World { inits_max: 2, ..password.clone() };
    let key_wide = World { by_key: true, ..wide.clone() };
    vec![
        ("password", password, false),
        ("key", by_key, false),
        ("password, two stays", again, false),
        ("key, two stays", key_again, true),
        ("password, wide", wide, true),
        ("key, wide", key_wide, true),
    ]
}

/// The figure of the paper, and whether it stalls.
pub fn figures() -> Vec<(&'static str, Figure3, bool)> {
    vec![
        ("one user, all leaders honest", Figure3 { users: 1, one_is_silent: false }, false),
        ("one user, one leader silent", Figure3 { users: 1, one_is_silent: true }, false),
        ("two users, one leader silent", Figure3 { users: 2, one_is_silent: true }, true),
    ]
}
