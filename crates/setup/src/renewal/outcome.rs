//! What a renewal comes to: a certified succession, with the deals from which each leader takes its shares.

use std::collections::BTreeMap;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use ringfort_crypto::kem::KemSecret;
use ringfort_crypto::secret::Secret32;
use ringfort_crypto::threshold::SecretShare;
use ringfort_protocol::codec::{decode, encode};
use ringfort_protocol::succession::Certified;
use ringfort_protocol::{GroupInfo, LeaderId};

use super::attempt::{digest_of, open};
use super::dealing;
use super::message::{Body, Post};

/// The largest package, bytes: 64 leaders' deals.
pub const PACKAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A certified succession and the deals it is made of. Public: what is secret in it is sealed.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Package {
    /// What the next generation is.
    pub certified: Certified,
    pub(super) deals: Vec<Post>,
}

impl Package {
    /// For a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// From a file.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > PACKAGE_BYTES_MAX { None } else { decode(bytes).ok() }
    }

    /// The next generation, and the two shares in it of `me`, who holds one of these secrets for each dealer, or `sealing`.
    ///
    /// `None` unless `before` and the package belong together, and the shares are those of the generation.
    pub fn open(
        &self,
        before: &Arc<GroupInfo>,
        me: LeaderId,
        secrets: &[Secret32],
        sealing: &KemSecret,
    ) -> Option<(GroupInfo, [SecretShare; 2])> {
        let group = before.succeed(self.certified.clone())?;
        let digests: Vec<[u8; 32]> = self.deals.iter().map(Post::digest).collect();
        if digest_of(&digests) != self.certified.succession.deals {
            return None;
        }
        let mut received = BTreeMap::new();
        for post in &self.deals {
            let Body::Deal { sealed, .. } = post.read()? else { return None };
            let sealed = sealed.get(usize::from(me.number()) - 1)?;
            let fresh = secrets.get(usize::from(post.author.number()) - 1).map(KemSecret::from_secret);
            let by = |secret: &KemSecret| open(secret, &post.plan, post.author, me, sealed);
            let shares = fresh.as_ref().and_then(by).or_else(|| by(sealing))?;
            received.insert(post.author, shares);
        }
        let shares = dealing::new_shares(me, &group, &received).ok()?;
        Some((group, shares))
    }
}
