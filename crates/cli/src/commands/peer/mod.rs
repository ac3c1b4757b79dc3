//! `ringfort peer`: secure groups over sites, whose members agree on a key that no site has.

mod talk;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use ringfort_crypto::sign::{SigningKey, VerifyingKey};
use ringfort_documents as documents;
use ringfort_peer_keys::{Admission, Certificate, KeyProtocol, Policy};
use ringfort_site::client::Door;
use ringfort_site::secure::file::{self, certificate};
use ringfort_site::{SecureGroup, SecureOptions};
use serde::Serialize;

pub use self::talk::{ChatArgs, JoinArgs, ListenArgs, SendArgs};
use crate::commands::site::door;
use crate::exit::{Failure, Outcome, Status};
use crate::output;
use crate::text::{clean, date};

const DAY_S: u64 = 24 * 60 * 60;

/// Secure groups: their members agree on a key that no site has.
///
/// Each member makes a key file (`key`), somebody puts all public keys into one peer file (`create`), and everybody gets a
/// copy. Messages go through sites, which cannot read or forge them: docs/peer-groups.md.
#[derive(Debug, Subcommand)]
pub enum PeerCommand {
    /// 1. Each member: make a key file, and print its public key
    Key(KeyArgs),
    /// 2. Somebody: make the peer file of all members' public keys
    Create(CreateArgs),
    /// An authority of the peer file: let somebody in who is not in it, for some days
    Certify(CertifyArgs),
    /// Show a peer file; with --site, join for a moment and see who is there
    Status(StatusArgs),
    /// 3. Talk: each line of the standard input is a message
    ///
    /// `/to NAME TEXT` sends to one member alone, `/refresh` asks for a new key.
    Chat(ChatArgs),
    /// Be a member, and print views and keys, until Ctrl-C
    Join(JoinArgs),
    /// Join, wait for others, send, and leave
    Send(SendArgs),
    /// Join, and print messages, views and keys
    Listen(ListenArgs),
}

/// A key to be made.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The key's file; keep it to yourself
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print the public key of a file that exists
    #[arg(long)]
    pub show: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// How keys are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum KeysArg {
    /// A tree of Diffie-Hellman keys: everybody contributes, changes are cheap
    Tgdh,
    /// Group Diffie-Hellman: everybody contributes, a change costs as much as there are members
    Gdh,
    /// The oldest member draws the key and seals it to the others: cheap, and nobody else contributes
    Ckd,
}

/// A group to be made.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The peer file to write
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The group's name
    #[arg(long, value_name = "GROUP")]
    pub group: String,
    /// A member and its public key; may be given again. Its role, if it has one, comes first: ROLE:NAME=KEY
    #[arg(long = "member", value_name = "NAME=KEY", required_unless_present = "authorities")]
    pub members: Vec<String>,
    /// An authority whose certificates let others in, and its public key; may be given again
    #[arg(long = "authority", value_name = "NAME=KEY")]
    pub authorities: Vec<String>,
    /// How keys are made
    #[arg(long, value_name = "PROTOCOL", default_value = "tgdh")]
    pub keys: KeysArg,
    /// Every message carries its sender's signature: no member can speak for another, even with a site's help
    #[arg(long)]
    pub signed: bool,
    /// How long a member is waited for before the others go on without it
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub patience: u64,
    /// How long a key is used; 0: until somebody asks for another, or the members change
    #[arg(long, value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub refresh: u64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// A certificate to be made.
#[derive(Debug, Args)]
pub struct CertifyArgs {
    /// The peer file
    #[arg(value_name = "PEERFILE")]
    pub peer: PathBuf,
    /// The authority's key file
    #[arg(long, value_name = "FILE")]
    pub authority_key: PathBuf,
    /// Who is let in, and its public key
    #[arg(long, value_name = "NAME=KEY")]
    pub member: String,
    /// In which role, for the peer file's rules and windows
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// For how long
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub days: u64,
    /// Where to write the certificate
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What to look at.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The peer file
    #[arg(value_name = "PEERFILE")]
    pub peer: PathBuf,
    /// Join through this site for a moment: its folder, its socket for clients, or HOST:PORT
    #[arg(long, value_name = "SITE", requires = "key")]
    pub site: Option<String>,
    /// This member's key file
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// What an authority has certified, where the peer file does not have the key
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Give up after this long
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Through which site, into which group, as whom.
#[derive(Debug, Args)]
pub struct MemberArgs {
    /// The site: its folder, its socket for clients, or HOST:PORT
    #[arg(value_name = "SITE")]
    pub site: String,
    /// The peer file
    #[arg(long, value_name = "FILE")]
    pub peer: PathBuf,
    /// This member's key file
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// What an authority has certified, where the peer file does not have the key
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// The name to use at the site, up to 10 letters, digits and signs [default: one that the site makes up]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Print JSON lines
    #[arg(long)]
    pub json: bool,
}

impl MemberArgs {
    async fn join(&self) -> Outcome<(SecureGroup, Arc<Policy>)> {
        let certificate = self.certificate.as_deref();
        join(&door(&self.site), &self.peer, &self.key, certificate, self.name.clone()).await
    }
}

async fn join(
    door: &Door,
    peer: &Path,
    key: &Path,
    certificate: Option<&Path>,
    name: Option<String>,
) -> Outcome<(SecureGroup, Arc<Policy>)> {
    let policy = Arc::new(file::read(peer)?);
    let key: SigningKey = documents::read_user_key(key)?;
    let certificate = certificate.map(certificate::read).transpose()?;
    let options = SecureOptions { name, certificate, ..SecureOptions::default() };
    Ok((SecureGroup::join(door, policy.clone(), key, options).await?, policy))
}

#[derive(Serialize)]
struct PublicKey {
    public_key: String,
}

#[derive(Serialize)]
struct Shown {
    group: String,
    fingerprint: String,
    keys: &'static str,
    signed: bool,
    patience_seconds: u64,
    refresh_minutes: u64,
    admitted: Vec<Admitted>,
    authorities: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    present: Option<talk::View>,
}

#[derive(Serialize)]
struct Admitted {
    name: String,
    public_key: String,
}

impl Shown {
    fn new(policy: &Policy) -> Self {
        let mut admitted: Vec<Admitted> = policy
            .admitted
            .iter()
            .map(|(key, name)| Admitted { name: name.clone(), public_key: data_encoding::HEXLOWER.encode(key) })
            .collect();
        admitted.sort_by(|a, b| a.name.cmp(&b.name));
        Shown {
            group: policy.group.clone(),
            fingerprint: file::fingerprint(policy),
            keys: policy.protocol.name(),
            signed: policy.signed,
            patience_seconds: policy.patience.as_secs(),
            refresh_minutes: policy.refresh_every.as_secs() / 60,
            admitted,
            authorities: policy.admission.authorities.values().cloned().collect(),
            present: None,
        }
    }

    fn print(&self) -> Outcome {
        output::line(format!(
            "Group {}, keys by {}. Fingerprint: {}",
            clean(&self.group),
            self.keys,
            self.fingerprint
        ))?;
        let names: Vec<String> = self.admitted.iter().map(|member| clean(&member.name)).collect();
        let by = self.authorities.iter().map(|name| format!("whom {} certifies", clean(name)));
        output::line(format!("Admitted: {}.", names.into_iter().chain(by).collect::<Vec<_>>().join(", ")))?;
        match &self.present {
            Some(view) => output::line(format!("Present: {}. Key {}.", clean(&view.users().join(", ")), view.key_tag)),
            None => Ok(()),
        }
    }
}

/// Runs `ringfort peer`.
///
/// # Errors
/// Files that cannot be used, a site that does not answer, members who do not go by the same peer file.
pub async fn run(command: PeerCommand) -> Outcome {
    match command {
        PeerCommand::Key(args) => key(&args),
        PeerCommand::Create(args) => create(&args),
        PeerCommand::Certify(args) => certify(&args),
        PeerCommand::Status(args) => status(args).await,
        PeerCommand::Chat(args) => talk::chat(args).await,
        PeerCommand::Join(args) => talk::join(args).await,
        PeerCommand::Send(args) => talk::send(args).await,
        PeerCommand::Listen(args) => talk::listen(args).await,
    }
}

fn key(args: &KeyArgs) -> Outcome {
    let key = if args.show { documents::read_user_key(&args.file)? } else { documents::create_user_key(&args.file)? };
    let public_key = documents::public_key_text(&key.verifying_key());
    if args.json { output::json(&PublicKey { public_key }) } else { output::line(public_key) }
}

fn create(args: &CreateArgs) -> Outcome {
    let mut members: Vec<(String, VerifyingKey)> = Vec::new();
    let mut admission = Admission::default();
    for member in &args.members {
        let (name, key) = named_key("member", member)?;
        let (role, name) = name.split_once(':').unwrap_or(("", &name));
        if !role.is_empty() {
            admission.roles.insert(key.to_bytes(), role.to_owned());
        }
        members.push((name.to_owned(), key));
    }
    for authority in &args.authorities {
        let (name, key) = named_key("authority", authority)?;
        admission.authorities.insert(key.to_bytes(), name);
    }
    let policy = Policy {
        protocol: match args.keys {
            KeysArg::Tgdh => KeyProtocol::Tgdh,
            KeysArg::Gdh => KeyProtocol::Gdh,
            KeysArg::Ckd => KeyProtocol::Ckd,
        },
        admission,
        signed: args.signed,
        patience: Duration::from_secs(args.patience),
        refresh_every: Duration::from_secs(args.refresh * 60),
        ..file::policy(&args.group, &members)?
    };
    file::write(&args.file, &policy)?;
    let shown = Shown::new(&policy);
    if args.json {
        return output::json(&shown);
    }
    shown.print()?;
    output::line(format!("Next: give {} to every member, and compare fingerprints.", args.file.display()))
}

fn named_key(what: &str, text: &str) -> Outcome<(String, VerifyingKey)> {
    let Some((name, key)) = text.rsplit_once('=') else {
        return Err(file::PeerFileError::Policy(format!("`{text}` is no {what}: write NAME=KEY")).into());
    };
    Ok((name.to_owned(), documents::parse_public_key(key)?))
}

#[derive(Serialize)]
struct Certified {
    id: String,
    user: String,
    until_unix_s: u64,
}

fn certify(args: &CertifyArgs) -> Outcome {
    let policy = file::read(&args.peer)?;
    let authority = documents::read_user_key(&args.authority_key)?;
    if !policy.admission.authorities.contains_key(&authority.verifying_key().to_bytes()) {
        let told = format!("the key in {} is no authority of this peer file", args.authority_key.display());
        return Err(Failure::new(Status::Credentials, told));
    }
    let (user, key) = named_key("member", &args.member)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let until_unix_s = now.saturating_add(args.days * DAY_S);
    let unsigned = Certificate {
        group: policy.group,
        user,
        role: args.role.clone().unwrap_or_default(),
        key: key.to_bytes(),
        from_unix_s: now,
        until_unix_s,
        authority: [0; 32],
        signature: [0; 64],
    };
    let certificate = Certificate::issue(&authority, unsigned);
    certificate::write(&args.out, &certificate)?;
    let id = data_encoding::HEXLOWER.encode(&certificate.id());
    if args.json {
        return output::json(&Certified { id, user: certificate.user, until_unix_s });
    }
    output::line(format!("{} lets {} in until {}.", args.out.display(), args.member, date(until_unix_s)))?;
    output::line(format!("To revoke it, add {id:?} to `revoked` of the authority in everybody's peer file."))
}

async fn status(args: StatusArgs) -> Outcome {
    let mut shown = Shown::new(&file::read(&args.peer)?);
    if let (Some(site), Some(key)) = (&args.site, &args.key) {
        let (group, policy) = join(&door(site), &args.peer, key, args.certificate.as_deref(), None).await?;
        shown.present = Some(talk::look(group, &policy, Duration::from_secs(args.timeout)).await?);
    }
    if args.json { output::json(&shown) } else { shown.print() }
}
