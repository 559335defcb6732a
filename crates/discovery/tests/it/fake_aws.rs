//! Services of AWS that know whose signature they see.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use kvass_config::HttpClientConfig;
use kvass_discovery::Environment;
use ring::{digest, hmac};

use crate::fake_service::{FakeService, Reply, Request};

/// Who may ask: secret key and session token by access key.
pub(crate) type Keys = BTreeMap<String, (String, Option<String>)>;

#[derive(Default)]
pub(crate) struct State {
    pub(crate) keys: Keys,
    /// What an action answers, in order; the last answer stays.
    pub(crate) answers: BTreeMap<String, Vec<Reply>>,
    /// How many seconds credentials are good for.
    pub(crate) lifetime: i64,
    /// How many were given away.
    pub(crate) given: u32,
    /// What the machine says when it is asked for a token: 0 is nothing. Without one it is asked as of old.
    pub(crate) token_status: u16,
}

#[derive(Clone)]
pub(crate) struct FakeAws {
    pub(crate) service: FakeService,
    state: Arc<Mutex<State>>,
}

pub(crate) fn xml(body: &str) -> Reply {
    Reply::json(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{body}")).with("content-type", "text/xml;charset=UTF-8")
}

/// A refusal in the protocol of EC2.
pub(crate) fn refusal(status: u16, code: &str) -> Reply {
    let error = format!("<Response><Errors><Error><Code>{code}</Code><Message>s3cret</Message></Error></Errors></Response>");
    xml(&error).with_status(status)
}

/// A page of instances.
pub(crate) fn instances(addresses: &[&str], next: &str) -> Reply {
    let item = |address: &&str| {
        format!("<item><instanceId>i-{address}</instanceId><privateIpAddress>{address}</privateIpAddress></item>")
    };
    let items: String = addresses.iter().map(item).collect();
    let next = if next.is_empty() { String::new() } else { format!("<nextToken>{next}</nextToken>") };
    xml(&format!(
        "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><reservationSet><item><ownerId>1</ownerId>\
         <instancesSet>{items}</instancesSet></item></reservationSet>{next}</DescribeInstancesResponse>"
    ))
}

impl FakeAws {
    pub(crate) async fn start(keys: &[(&str, &str)], answers: &[(&str, Vec<Reply>)]) -> FakeAws {
        let state = State {
            keys: keys.iter().map(|(key, secret)| ((*key).to_owned(), ((*secret).to_owned(), None))).collect(),
            answers: answers.iter().map(|(action, replies)| ((*action).to_owned(), replies.clone())).collect(),
            lifetime: 3600,
            given: 0,
            token_status: 200,
        };
        let state = Arc::new(Mutex::new(state));
        let for_handler = Arc::clone(&state);
        let service = FakeService::by(move |request| {
            let mut state = for_handler.lock().unwrap();
            let is_silent = request.method == "PUT" && state.token_status == 0;
            let reply = answer(&mut state, &request);
            async move { if is_silent { std::future::pending().await } else { reply } }
        })
        .await;
        FakeAws { service, state }
    }

    pub(crate) fn edit(&self, edit: impl FnOnce(&mut State)) {
        edit(&mut self.state.lock().unwrap());
    }

    pub(crate) fn given(&self) -> u32 {
        self.state.lock().unwrap().given
    }

    /// Requests for an action.
    pub(crate) fn asked(&self, action: &str) -> Vec<Request> {
        self.service.requests().into_iter().filter(|request| request.action() == action).collect()
    }
}

/// An environment with these variables only.
pub(crate) fn environment(variables: &[(&str, &str)]) -> Environment {
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Environment::new(move |name| variables.get(name).cloned(), HttpClientConfig::default())
}

fn answer(state: &mut State, request: &Request) -> Reply {
    let token = if state.token_status == 200 { "machine-token" } else { "" };
    match request.path.as_str() {
        "/latest/api/token" if state.token_status != 200 => return Reply::status(state.token_status.max(400)),
        "/latest/api/token" if request.method == "PUT" => {
            let lifetime = request.header("x-aws-ec2-metadata-token-ttl-seconds");
            return if lifetime.is_empty() { Reply::status(400) } else { Reply::json("machine-token") };
        }
        path if path.starts_with("/latest/") && request.header("x-aws-ec2-metadata-token") != token => {
            return Reply::status(401);
        }
        "/latest/meta-data/iam/security-credentials/" => return Reply::json("a-role").with("content-type", "text/plain"),
        "/latest/meta-data/iam/security-credentials/a-role" => return given(state, true),
        "/latest/dynamic/instance-identity/document" => return Reply::json(r#"{"region": "eu-west-1"}"#),
        "/container" if request.header("authorization") == "container-token" => return given(state, false),
        "/" => {}
        path => match verify(request, &state.keys, "kafka") {
            Ok(()) => return state.answers.get(path).map_or_else(|| Reply::status(404), |replies| replies[0].clone()),
            Err(problem) => return Reply::json(format!(r#"{{"message": "s3cret", "__type": "{problem}"}}"#)).with_status(403),
        },
    }
    let action = request.action();
    match action.as_str() {
        "AssumeRoleWithWebIdentity" if request.header("authorization").is_empty() => assumed(state, &action),
        "AssumeRole" => match verify(request, &state.keys, "sts") {
            Ok(()) => assumed(state, &action),
            Err(problem) => refusal(403, problem),
        },
        _ => {
            let service = match request.header("x-amz-target").split('.').next() {
                Some("Lightsail_20161128") => "lightsail",
                Some("AmazonEC2ContainerServiceV20141113") => "ecs",
                _ => "ec2",
            };
            if let Err(problem) = verify(request, &state.keys, service) {
                return refusal(401, problem);
            }
            match state.answers.get_mut(&action) {
                Some(replies) if replies.len() > 1 => replies.remove(0),
                Some(replies) => replies[0].clone(),
                None => refusal(400, "InvalidAction"),
            }
        }
    }
}

/// Credentials nobody had before, and when they end. Those of before end at once.
fn fresh(state: &mut State) -> (String, String, String, String) {
    state.given += 1;
    let n = state.given;
    let (key, secret, token) = (format!("ASIA{n}"), format!("s3cret-{n}"), format!("token/+{n}="));
    state.keys.retain(|key, _| !key.starts_with("ASIA"));
    state.keys.insert(key.clone(), (secret.clone(), Some(token.clone())));
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(state.lifetime);
    (key, secret, token, end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn given(state: &mut State, with_code: bool) -> Reply {
    let (key, secret, token, end) = fresh(state);
    let code = if with_code { "\"Code\": \"Success\", \"Type\": \"AWS-HMAC\"," } else { "" };
    Reply::json(format!(
        r#"{{{code} "AccessKeyId": "{key}", "SecretAccessKey": "{secret}", "Token": "{token}", "Expiration": "{end}"}}"#
    ))
}

fn assumed(state: &mut State, action: &str) -> Reply {
    let (key, secret, token, end) = fresh(state);
    xml(&format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><AssumedRoleUser><Arn>a</Arn></AssumedRoleUser>\
         <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken>\
         <Expiration>{end}</Expiration></Credentials></{action}Result></{action}Response>"
    ))
}

/// Computes the signature of a request as its receiver does, from what arrived.
fn verify(request: &Request, keys: &Keys, service: &str) -> Result<(), &'static str> {
    let given = request.header("authorization").strip_prefix("AWS4-HMAC-SHA256 ").ok_or("MissingAuthenticationToken")?;
    let part = |name: &str| given.split(", ").find_map(|part| part.strip_prefix(name)).ok_or("IncompleteSignature");
    let (credential, names, signature) = (part("Credential=")?, part("SignedHeaders=")?, part("Signature=")?);
    let scope: Vec<&str> = credential.split('/').collect();
    let [key, day, region, scoped, "aws4_request"] = scope[..] else { return Err("IncompleteSignature") };
    let (secret, token) = keys.get(key).ok_or("InvalidClientTokenId")?;
    let time = request.header("x-amz-date");
    if scoped != service || !time.starts_with(day) || !names.split(';').any(|name| name == "host") {
        return Err("SignatureDoesNotMatch");
    }
    if token.as_deref() != Some(request.header("x-amz-security-token")).filter(|token| !token.is_empty()) {
        return Err("InvalidClientTokenId");
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let sha = |text: &str| hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    let headers: String = names.split(';').map(|name| format!("{name}:{}\n", request.header(name))).collect();
    let mut query: Vec<&str> = request.query.split('&').filter(|pair| !pair.is_empty()).collect();
    query.sort_unstable();
    // Once more than it was sent, segment by segment.
    let path = request.path.replace('%', "%25");
    let parts: [&str; 6] = [&request.method, &path, &query.join("&"), &headers, names, &sha(&request.body)];
    let canonical = parts.join("\n");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{day}/{region}/{scoped}/aws4_request\n{}", sha(&canonical));
    let sign = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec();
    let key = sign(format!("AWS4{secret}").as_bytes(), day);
    let key = [region, scoped, "aws4_request"].iter().fold(key, |key, part| sign(&key, part));
    if hex(&sign(&key, &text)) == signature { Ok(()) } else { Err("SignatureDoesNotMatch") }
}

/// A vector of AWS' own test suite, so that sender and receiver do not err together.
#[test]
fn the_receiver_knows_a_good_signature() {
    let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    let authorization = |signature: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, \
             Signature={signature}"
        )
    };
    let request = |signature: &str| Request {
        method: "GET".to_owned(),
        path: "/".to_owned(),
        query: String::new(),
        headers: [
            ("host", "example.amazonaws.com"),
            ("x-amz-date", "20150830T123600Z"),
            ("authorization", &authorization(signature)),
        ]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect(),
        body: String::new(),
    };
    let keys = Keys::from([("AKIDEXAMPLE".to_owned(), ("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(), None))]);
    assert_eq!(verify(&request(signature), &keys, "service"), Ok(()));
    assert_eq!(verify(&request(&signature.replace('5', "6")), &keys, "service"), Err("SignatureDoesNotMatch"));
    assert_eq!(verify(&request(signature), &Keys::new(), "service"), Err("InvalidClientTokenId"));
}
