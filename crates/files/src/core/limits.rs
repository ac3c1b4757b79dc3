//! Every bound of file transfer, and every patience, with its default.

use std::time::Duration;

/// Bounds of one member's transfers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The length of a piece. Smaller if the group's messages are. Default 32 KiB.
    pub chunk_bytes: u32,
    /// Bytes on their way to a receiver that has not reported them; all transfers of this member share them. A chat
    /// message waits behind these at most. Default 512 KiB.
    pub window_bytes: u32,
    /// Open offers of this member. Default 32.
    pub outgoing_max: usize,
    /// Open offers of one other member; further ones are not looked at. Default 16.
    pub offers_per_member_max: usize,
    /// Open offers of all other members. Default 256.
    pub offers_max: usize,
    /// Files that are being received at once. Default 16.
    pub receiving_max: usize,
    /// Transfers that are over and still listed. Default 64.
    pub past_max: usize,
    /// The largest file that is sent or accepted. Default 64 GiB.
    pub file_bytes_max: u64,
    /// Bytes of all files that are being received. Default 128 GiB.
    pub receiving_bytes_max: u64,
    /// Files up to this length are accepted without asking. Default 1 MiB; 0 to ask always.
    pub auto_bytes_max: u64,
    /// Bytes of all files accepted without asking in one stay; then all are asked for. Default 64 MiB.
    pub auto_total_bytes_max: u64,
    /// Files accepted without asking in one stay. Default 200.
    pub auto_total_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        const GIB: u64 = 1 << 30;
        Limits {
            chunk_bytes: 32 * 1024,
            window_bytes: 512 * 1024,
            outgoing_max: 32,
            offers_per_member_max: 16,
            offers_max: 256,
            receiving_max: 16,
            past_max: 64,
            file_bytes_max: 64 * GIB,
            receiving_bytes_max: 128 * GIB,
            auto_bytes_max: 1024 * 1024,
            auto_total_bytes_max: 64 * 1024 * 1024,
            auto_total_max: 200,
        }
    }
}

/// A receiver that holds the others up for this much longer than it does not is served by itself from then on: it
/// is less than half as fast, and sending twice costs less than waiting.
pub(super) const HOLD_UP_MAX: Duration = Duration::from_millis(750);
/// Without a report for so long, what is on its way counts as lost. Doubles up to [`RETRY_MAX`].
pub(super) const RETRY: Duration = Duration::from_millis(1500);
pub(super) const RETRY_MAX: Duration = Duration::from_secs(8);
/// The same piece is not sent again to the same receiver sooner than this.
pub(super) const RESEND_AFTER: Duration = Duration::from_millis(250);
/// A receiver that says nothing for so long is not sent anything until it does.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(15);
/// An offer that nobody has taken note of is made again, so often at most.
pub(super) const OFFER_AGAIN: Duration = Duration::from_secs(4);
pub(super) const OFFERS_MAX: u32 = 5;
/// A receiver to which nothing comes says where it is.
pub(super) const REMIND: Duration = Duration::from_secs(2);
/// A receiver with a hole says so at most this often.
pub(super) const COMPLAIN: Duration = Duration::from_millis(40);
