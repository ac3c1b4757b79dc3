//! Why somebody is not in the secure view, in words.

use ringfort_peer_keys::flush::OutWhy;

use crate::text::clean;

/// For scripts.
pub(super) fn word(why: OutWhy) -> &'static str {
    match why {
        OutWhy::Silent => "silent",
        OutWhy::Stranger => "stranger",
        OutWhy::OtherPolicy => "other_policy",
        OutWhy::NoContribution => "no_contribution",
        OutWhy::SameKey => "same_key",
        OutWhy::OwnApplication => "own_application",
        OutWhy::Expired => "expired",
        OutWhy::Revoked => "revoked",
        OutWhy::NotNow => "not_now",
    }
}

/// Why somebody who is in the site's group is not in the secure one.
pub(super) fn sentence(name: &str, why: OutWhy) -> String {
    let name = clean(name);
    match why {
        OutWhy::Silent => format!("{name} is left out: it did not do its part in time"),
        OutWhy::Stranger => format!("{name} is left out: the peer file does not admit its key"),
        OutWhy::OtherPolicy => format!(
            "{name} is left out: it goes by another peer file; compare fingerprints with `ringfort peer status PEERFILE`"
        ),
        OutWhy::NoContribution => format!("{name} is left out: what it brings for the key is no contribution"),
        OutWhy::SameKey => {
            format!("{name} is left out: another program is in the group with the same key; each needs one of its own")
        }
        OutWhy::OwnApplication => format!("{name} is left out: its application did not answer in time"),
        OutWhy::Expired => format!("{name} is left out: its certificate has expired"),
        OutWhy::Revoked => format!("{name} is left out: the peer file revokes its certificate"),
        OutWhy::NotNow => {
            format!("{name} has to wait: its time has not come, or somebody is not present whom it may not be without")
        }
    }
}
