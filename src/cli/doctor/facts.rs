//! The calls that are made, all at once. None of them changes anything: those that would are made
//! so that they cannot succeed, which still tells whether the caller may make them.

use serde_json::{Value, json};

use super::settings::Caller;
use super::{LIMIT, ecs};
use crate::aws::{Error, Prober, Reply, Service};
use crate::channel::{ConnectError, websocket};

/// What became of a call.
pub type Answer = Result<Reply, Error>;

/// A document that a session could be started with, and a parameter that it refuses.
pub const DOCUMENT: &str = "AWS-StartPortForwardingSession";
/// The document that holds the account's preferences.
const PREFERENCES: &str = "SSM-SessionManagerRunShell";
/// A node that there is not.
const NOBODY: &str = "i-00000000000000000";
/// The setting that lets machines outside of EC2 have sessions.
pub const TIER: &str = "/ssm/managed-instance/activation-tier";
/// The longest name of a caller in the id of a session that there is not, in characters.
const NAME: usize = 64;

/// What a call says of the permission for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The caller may.
    Allowed,
    /// The caller may not.
    Denied(String),
    /// AWS does not take the credentials.
    Credentials(String),
    /// AWS does not take the signature: the time or the secret key is wrong.
    Time(String),
    /// It says nothing.
    Unknown(String),
}

/// What a call says, where these errors mean that the caller may.
pub fn verdict(answer: &Answer, good: &[&str]) -> Verdict {
    let reply = match answer {
        Ok(reply) => reply,
        Err(error) => return Verdict::Unknown(error.to_string()),
    };
    if reply.is_good() {
        return Verdict::Allowed;
    }
    let why = match reply.code.as_deref() {
        None => format!("HTTP status {}", reply.status),
        Some(code) if reply.message.is_empty() => code.to_owned(),
        Some(code) => format!("{} ({code})", reply.message),
    };
    match reply.code.as_deref().unwrap_or_default() {
        code if good.contains(&code) => Verdict::Allowed,
        _ if reply.is_denied() => Verdict::Denied(why),
        "ExpiredToken"
        | "ExpiredTokenException"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "AuthFailure" => Verdict::Credentials(why),
        "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "RequestTimeTooSkewed"
        | "RequestExpired" => Verdict::Time(why),
        _ => Verdict::Unknown(why),
    }
}

/// What was answered.
#[derive(Debug)]
pub struct Facts {
    pub start: Answer,
    pub resume: Answer,
    pub terminate: Answer,
    /// A data channel of a session that there is not; none if nobody knows where to open it.
    pub channel: Option<Result<(), ConnectError>>,
    pub status: Answer,
    pub information: Answer,
    pub properties: Answer,
    pub preferences: Answer,
    /// The KMS key that the preferences name, and a try to use it.
    pub key: Option<(String, Answer)>,
    /// What EC2 says, of EC2 instances.
    pub instance: Option<Answer>,
    /// The tier of the account, for machines outside of EC2.
    pub tier: Option<Answer>,
    /// The task, of containers.
    pub task: Option<Answer>,
}

impl Facts {
    /// Makes all calls.
    pub async fn find(prober: &Prober, caller: &Caller, target: Option<&str>) -> Self {
        let region = prober.aws().region();
        let ssm = async |operation: &str, input: Value| {
            prober.call(Service::Ssm, region, operation, &input).await
        };
        let node = target.unwrap_or(NOBODY);
        let session = no_session(caller);
        let node_calls = async {
            tokio::join!(
                start(prober, node),
                ssm("GetConnectionStatus", json!({ "Target": node })),
                ssm("DescribeInstanceInformation", information(target)),
                ssm("DescribeInstanceProperties", properties(target)),
            )
        };
        let session_calls = async {
            tokio::join!(
                ssm("ResumeSession", json!({ "SessionId": session })),
                ssm("TerminateSession", json!({ "SessionId": session })),
                channel(prober, &session),
            )
        };
        let key_calls = async {
            let preferences = ssm("GetDocument", json!({ "Name": PREFERENCES })).await;
            let key = preferences.as_ref().ok().and_then(preferred_key);
            let key = match key {
                Some(key) => {
                    let answer = use_key(prober, &key, node, &session).await;
                    Some((key, answer))
                }
                None => None,
            };
            (preferences, key)
        };
        let (node_answers, session_answers, key_answers, instance, tier, task) = tokio::join!(
            node_calls,
            session_calls,
            key_calls,
            instance(prober, target),
            tier(prober, target),
            task(prober, target),
        );
        let (start, status, information, properties) = node_answers;
        let (resume, terminate, channel) = session_answers;
        let (preferences, key) = key_answers;
        Self {
            start,
            resume,
            terminate,
            channel,
            status,
            information,
            properties,
            preferences,
            key,
            instance,
            tier,
            task,
        }
    }

    /// All that came back.
    pub fn replies(&self) -> impl Iterator<Item = &Reply> {
        let always = [
            &self.start,
            &self.resume,
            &self.terminate,
            &self.status,
            &self.information,
            &self.properties,
            &self.preferences,
        ];
        let key = self.key.as_ref().map(|(_, answer)| answer);
        let sometimes = [&self.instance, &self.tier, &self.task];
        always
            .into_iter()
            .chain(key)
            .chain(sometimes.into_iter().flatten())
            .filter_map(|answer| answer.as_ref().ok())
    }
}

/// The id of a session of the caller's that there is not: policies let callers have their own.
fn no_session(caller: &Caller) -> String {
    let name = match caller.name.as_str() {
        "" => "ssmx-doctor",
        name => name,
    };
    let name: String = name.chars().take(NAME).collect();
    format!("{name}-00000000000000000")
}

/// Asks for a session with a parameter that the document does not take. Should the service start
/// one nevertheless, it is ended at once.
async fn start(prober: &Prober, node: &str) -> Answer {
    let region = prober.aws().region();
    let input = json!({
        "Target": node,
        "DocumentName": DOCUMENT,
        "Parameters": { "portNumber": ["0"] },
    });
    let answer = prober
        .call(Service::Ssm, region, "StartSession", &input)
        .await;
    let session = answer
        .as_ref()
        .ok()
        .and_then(|reply| reply.json.get("SessionId"));
    if let Some(Value::String(session)) = session {
        let input = json!({ "SessionId": session });
        let ended = prober
            .call(Service::Ssm, region, "TerminateSession", &input)
            .await;
        tracing::debug!(?ended, "a session that should not have started");
    }
    answer
}

/// Opens the data channel of a session that there is not, and sends nothing on it.
async fn channel(prober: &Prober, session: &str) -> Option<Result<(), ConnectError>> {
    let aws = prober.aws();
    let endpoint = aws.endpoint(Service::SsmMessages, aws.region()).await?;
    let host = endpoint.url.host_str()?;
    let url = format!("wss://{host}/v1/data-channel/{session}?role=publish_subscribe");
    let opened = tokio::time::timeout(LIMIT, websocket::connect(aws, &url)).await;
    Some(match opened {
        Ok(opened) => opened.map(drop),
        Err(_) => Err(ConnectError::Timeout {
            host: host.to_owned(),
        }),
    })
}

fn information(target: Option<&str>) -> Value {
    match target {
        Some(id) => json!({ "Filters": [{ "Key": "InstanceIds", "Values": [id] }] }),
        None => json!({ "MaxResults": 5 }),
    }
}

fn properties(target: Option<&str>) -> Value {
    match target {
        Some(id) => json!({
            "FiltersWithOperator": [{ "Key": "InstanceIds", "Values": [id], "Operator": "Equal" }],
        }),
        None => json!({ "MaxResults": 5 }),
    }
}

/// The preferences of an answer, as the document says them.
pub fn inputs(reply: &Reply) -> Option<Value> {
    let content = reply.json.get("Content")?.as_str()?;
    let content: Value = serde_json::from_str(content).ok()?;
    content.get("inputs").cloned()
}

fn preferred_key(reply: &Reply) -> Option<String> {
    let key = inputs(reply)?.get("kmsKeyId")?.as_str()?.to_owned();
    Some(key).filter(|key| !key.is_empty())
}

/// KMS says what would become of a call, and makes no key.
async fn use_key(prober: &Prober, key: &str, node: &str, session: &str) -> Answer {
    let input = json!({
        "KeyId": key,
        "NumberOfBytes": 64,
        "EncryptionContext": { "aws:ssm:SessionId": session, "aws:ssm:TargetId": node },
        "DryRun": true,
    });
    let region = prober.aws().region();
    prober
        .call(Service::Kms, region, "GenerateDataKey", &input)
        .await
}

async fn instance(prober: &Prober, target: Option<&str>) -> Option<Answer> {
    let id = target.filter(|id| id.starts_with("i-"))?;
    let input = json!({ "InstanceId.1": id });
    let region = prober.aws().region();
    Some(
        prober
            .call(Service::Ec2, region, "DescribeInstances", &input)
            .await,
    )
}

async fn tier(prober: &Prober, target: Option<&str>) -> Option<Answer> {
    target.filter(|id| id.starts_with("mi-"))?;
    let input = json!({ "SettingId": TIER });
    let region = prober.aws().region();
    Some(
        prober
            .call(Service::Ssm, region, "GetServiceSetting", &input)
            .await,
    )
}

async fn task(prober: &Prober, target: Option<&str>) -> Option<Answer> {
    let (cluster, task, _) = ecs::parts(target?)?;
    let input = json!({ "cluster": cluster, "tasks": [task] });
    let region = prober.aws().region();
    Some(
        prober
            .call(Service::Ecs, region, "DescribeTasks", &input)
            .await,
    )
}
