//! `ringfort key` and `ringfort certify`.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use ringfort::protocol::UserName;
use ringfort::protocol::login::Certificate;
use ringfort::protocol::view::SessionVerifyingKey;
use ringfort_documents as documents;
use serde::Serialize;

use crate::common::GroupArgs;
use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text;

const DAY_S: u64 = 24 * 60 * 60;

/// Makes or shows a user's key.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a new key and print its public half
    New(KeyArgs),
    /// Print the public half of a key
    Show(KeyArgs),
}

/// Which key file.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The key's file; keep it to yourself
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Certifies a user's key for one group, by an authority that the group's policy names.
#[derive(Debug, Args)]
pub struct CertifyArgs {
    /// Which group.
    #[command(flatten)]
    pub group: GroupArgs,
    /// The authority's key file
    #[arg(long, value_name = "FILE")]
    pub authority_key: PathBuf,
    /// Which of the policy's authorities, from 0 [default: the one with this key]
    #[arg(long, value_name = "N")]
    pub authority: Option<u8>,
    /// The user to certify
    #[arg(long, value_name = "NAME")]
    pub user: UserName,
    /// The user's public key
    #[arg(long, value_name = "HEX")]
    pub key: String,
    /// Days that the certificate is good for
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub days: u64,
    /// Where to write the certificate
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct PublicKey {
    public_key: String,
}

#[derive(Serialize)]
struct Certified {
    user: String,
    authority: u8,
    expires_unix_s: u64,
    certificate: String,
}

/// Runs `ringfort key`.
///
/// # Errors
/// A file that exists, or one that is no key.
pub fn run(command: &KeyCommand) -> Outcome {
    let (args, key) = match command {
        KeyCommand::New(args) => (args, documents::create_user_key(&args.file)?),
        KeyCommand::Show(args) => (args, documents::read_user_key(&args.file)?),
    };
    let public_key = documents::public_key_text(&key.verifying_key());
    if args.json { output::json(&PublicKey { public_key }) } else { output::line(public_key) }
}

/// Runs `ringfort certify`.
///
/// # Errors
/// Unusable files, a key that is none of the authorities'.
pub fn certify(args: &CertifyArgs) -> Outcome {
    let group = args.group.read()?;
    let authority_key = documents::read_user_key(&args.authority_key)?;
    let key = documents::parse_public_key(&args.key)?;
    let public = authority_key.verifying_key().to_bytes();
    let found = group.policy.authorities.iter().position(|known| *known == public);
    let found = found.and_then(|position| u8::try_from(position).ok());
    let authority = match (found, args.authority) {
        (Some(found), Some(wanted)) if found != wanted => {
            let told = format!("this key is the group's authority {found}, not {wanted}: correct --authority");
            return Err(Failure::new(Status::Usage, told));
        }
        (Some(found), _) => found,
        (None, _) => {
            let told = "the key is none of the authorities in the group's policy: use the key of one of them";
            return Err(Failure::new(Status::Credentials, told));
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let expires = now.saturating_add(args.days * DAY_S);
    let user = args.user.clone();
    let certificate = Certificate::issue(&group, authority, &authority_key, user, SessionVerifyingKey(key), expires);
    documents::write_certificate(&args.out, &certificate)?;
    if args.json {
        return output::json(&Certified {
            user: args.user.to_string(),
            authority,
            expires_unix_s: expires,
            certificate: args.out.display().to_string(),
        });
    }
    output::line(format!(
        "{} certifies {} in the group {:?} until {}.",
        args.out.display(),
        args.user,
        group.name,
        text::date(expires)
    ))
}
