//! AWS: signatures, the places credentials come from, paging, and what becomes of refusals. What answers mean is in the
//! goldens.

use crate::{
    common::{addresses, until},
    fake_aws::{FakeAws, environment, instances, refusal, xml},
    fake_service::{Reply, discover_in},
};

const ZONES: &str = "<DescribeAvailabilityZonesResponse><availabilityZoneInfo/></DescribeAvailabilityZonesResponse>";

async fn start(keys: &[(&str, &str)], pages: Vec<Reply>) -> FakeAws {
    FakeAws::start(keys, &[("DescribeAvailabilityZones", vec![xml(ZONES)]), ("DescribeInstances", pages)]).await
}

/// An EC2 section without credentials.
fn section(aws: &FakeAws, more: &str) -> String {
    format!("region: eu-west-2, endpoint: '{}', refresh_interval: 1s{more}", aws.service.url)
}

#[tokio::test]
async fn ec2_pages_filters_and_refusals() {
    let aws =
        start(&[("AKID", "s3cret")], vec![instances(&["10.0.0.1"], "next/+="), instances(&["10.0.0.2", "fd00::3"], "")]).await;
    let more = ", access_key: AKID, secret_key: s3cret, port: 9100, \
        filters: [{name: 'tag:env', values: [prod, 'a b']}, {name: instance-state-name, values: [running]}]";
    let (_manager, mut snapshots) = discover_in(environment(&[]), "ec2_sd_configs", &section(&aws, more));
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["10.0.0.1:9100", "10.0.0.2:9100", "[fd00::3]:9100"]);
    assert_eq!(found.groups[0].source, "eu-west-2");
    let asked = aws.asked("DescribeInstances");
    assert_eq!((asked[0].form("NextToken"), asked[1].form("NextToken")), (String::new(), "next/+=".to_owned()));
    for request in &asked[..2] {
        let told = ["Filter.1.Name", "Filter.1.Value.1", "Filter.1.Value.2", "Filter.2.Name", "Filter.2.Value.1", "Version"];
        let told = told.map(|name| request.form(name));
        assert_eq!(told, ["tag:env", "prod", "a b", "instance-state-name", "running", "2016-11-15"]);
        assert_eq!(request.header("host"), aws.service.host());
    }

    for (page, expected) in [
        (
            refusal(503, "RequestLimitExceeded"),
            "ec2_sd_configs: DescribeInstances: 503 Service Unavailable, RequestLimitExceeded",
        ),
        (Reply::status(502), "ec2_sd_configs: DescribeInstances: 502 Bad Gateway"),
        (xml("<html/>"), "DescribeInstances: the answer is a \"html\""),
        (Reply::json("{}"), "body is not the XML expected here"),
    ] {
        // The second page fails: half a list is none.
        aws.edit(|state| {
            drop(state.answers.insert("DescribeInstances".to_owned(), vec![instances(&["10.0.0.9"], "n"), page.clone()]))
        });
        let failing = until(&mut snapshots, "j", |job| job.errors.iter().any(|error| error.contains(expected))).await;
        assert_eq!(failing.groups, found.groups);
        assert!(!format!("{:?}", failing.errors).contains("s3cret"));
    }
    aws.edit(|state| {
        state.keys.clear();
        state.answers.insert("DescribeInstances".to_owned(), vec![instances(&[], "")]);
    });
    let expected = "ec2_sd_configs: DescribeInstances: 401 Unauthorized, InvalidClientTokenId";
    let failing = until(&mut snapshots, "j", |job| job.errors == [expected]).await;
    assert_eq!(failing.groups, found.groups);
    aws.edit(|state| drop(state.keys.insert("AKID".to_owned(), ("s3cret".to_owned(), None))));
    until(&mut snapshots, "j", |job| job.groups.is_empty() && job.errors.is_empty()).await;
    // What can be listed once need not be listed again.
    assert_eq!(aws.asked("DescribeAvailabilityZones").len(), 1);
}

#[tokio::test]
async fn a_wrong_secret_is_seen_and_not_shown() {
    let aws = start(&[("AKID", "s3cret")], vec![instances(&["10.0.0.1"], "")]).await;
    let more = ", access_key: AKID, secret_key: 0ther";
    let (_manager, mut snapshots) = discover_in(environment(&[]), "ec2_sd_configs", &section(&aws, more));
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert_eq!(failing.errors, ["ec2_sd_configs: DescribeInstances: 401 Unauthorized, SignatureDoesNotMatch"]);
    assert!(!failing.complete && failing.groups.is_empty());
}

#[tokio::test]
async fn lightsail_and_its_refusals() {
    let page = r#"{"instances": [{"name": "a", "privateIpAddress": "10.0.0.1"}, {"name": "b"}], "nextPageToken": "more"}"#;
    let aws = FakeAws::start(&[("AKID", "s3cret")], &[("GetInstances", vec![Reply::json(page)])]).await;
    let more = ", access_key: AKID, secret_key: s3cret";
    let (_manager, mut snapshots) = discover_in(environment(&[]), "lightsail_sd_configs", &section(&aws, more));
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["10.0.0.1:80"]);
    let asked = aws.asked("GetInstances").remove(0);
    assert_eq!(asked.header("x-amz-target"), "Lightsail_20161128.GetInstances");
    assert_eq!((asked.header("content-type"), asked.body.as_str()), ("application/x-amz-json-1.1", "{}"));
    let refusal = Reply::json(r#"{"__type": "com.amazonaws.lightsail#ThrottlingException"}"#).with_status(400);
    aws.edit(|state| drop(state.answers.insert("GetInstances".to_owned(), vec![refusal])));
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert_eq!(failing.errors, ["lightsail_sd_configs: GetInstances: 400 Bad Request, ThrottlingException"]);
    assert_eq!(failing.groups, found.groups);
}

#[tokio::test]
async fn ecs_pages_and_refusals() {
    let list = |key: &str, names: &[&str], next: &str| {
        let next = if next.is_empty() { "null".to_owned() } else { format!("\"{next}\"") };
        Reply::json(format!(r#"{{"{key}": {names:?}, "nextToken": {next}}}"#))
    };
    let interface = r#"{"type": "ElasticNetworkInterface", "details": [{"name": "privateIPv4Address", "value": "10.0.0.1"}]}"#;
    let aws = FakeAws::start(
        &[("AKID", "s3cret")],
        &[
            ("DescribeClusters", vec![Reply::json(r#"{"clusters": [{"clusterArn": "arn:c", "clusterName": "c"}]}"#)]),
            ("ListTasks", vec![list("taskArns", &["t1"], "more"), list("taskArns", &["t2"], ""), list("taskArns", &["t1"], "")]),
            ("DescribeTasks", vec![Reply::json(format!(r#"{{"tasks": [{{"taskArn": "t1", "attachments": [{interface}]}}]}}"#))]),
            ("ListServices", vec![list("serviceArns", &[], "")]),
        ],
    )
    .await;
    let more = ", access_key: AKID, secret_key: s3cret, clusters: [c]";
    let (_manager, mut snapshots) = discover_in(environment(&[]), "ecs_sd_configs", &section(&aws, more));
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["10.0.0.1:80"]);
    let body = |action: &str, n: usize| -> serde_json::Value { serde_json::from_str(&aws.asked(action)[n].body).unwrap() };
    assert_eq!(body("DescribeClusters", 0), serde_json::json!({"clusters": ["c"], "include": ["TAGS"]}));
    assert_eq!(body("ListTasks", 1), serde_json::json!({"cluster": "arn:c", "maxResults": 100, "nextToken": "more"}));
    assert_eq!(body("DescribeTasks", 0)["tasks"], serde_json::json!(["t1", "t2"]));
    let refusal = Reply::json(r#"{"__type": "ThrottlingException"}"#).with_status(400);
    aws.edit(|state| drop(state.answers.insert("DescribeTasks".to_owned(), vec![refusal])));
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert_eq!(failing.errors, ["ecs_sd_configs: DescribeTasks: 400 Bad Request, ThrottlingException"]);
    assert_eq!(failing.groups, found.groups);
}

#[tokio::test]
async fn msk_signs_paths_with_arns() {
    let cluster = r#"{"clusterInfo": {"clusterArn": "arn:aws:kafka:r:1:cluster/a b/1", "clusterType": "PROVISIONED"}}"#;
    let nodes = r#"{"nodeInfoList": [{"brokerNodeInfo": {"endpoints": ["b-1.example"]}}]}"#;
    let arn = "arn%3Aaws%3Akafka%3Ar%3A1%3Acluster%2Fa%20b%2F1";
    let aws = FakeAws::start(
        &[("AKID", "s3cret")],
        &[
            (&format!("/api/v2/clusters/{arn}"), vec![Reply::json(cluster)]),
            (&format!("/v1/clusters/{arn}/nodes"), vec![Reply::json(nodes)]),
        ],
    )
    .await;
    let more = ", access_key: AKID, secret_key: s3cret, clusters: ['arn:aws:kafka:r:1:cluster/a b/1']";
    let (_manager, mut snapshots) = discover_in(environment(&[]), "msk_sd_configs", &section(&aws, more));
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!(addresses(&found), ["b-1.example:80"]);
    aws.edit(|state| state.keys.clear());
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    assert!(failing.errors[0].ends_with(": 403 Forbidden, InvalidClientTokenId"), "{:?}", failing.errors);
    assert_eq!(failing.groups, found.groups);
}

#[tokio::test]
async fn a_role_is_assumed_and_assumed_again_before_it_ends() {
    let aws = start(&[("AKID", "s3cret")], vec![instances(&["10.0.0.1"], "")]).await;
    let variables =
        [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "s3cret"), ("AWS_ENDPOINT_URL_STS", &aws.service.url)];
    let more = ", role_arn: 'arn:aws:iam::1:role/r', external_id: outside";
    let (_manager, mut snapshots) = discover_in(environment(&variables), "ec2_sd_configs", &section(&aws, more));
    until(&mut snapshots, "j", |job| job.complete && addresses(job) == ["10.0.0.1:80"]).await;
    let asked = aws.asked("AssumeRole").remove(0);
    let told = ["RoleArn", "ExternalId", "DurationSeconds", "Version"].map(|name| asked.form(name));
    assert_eq!(told, ["arn:aws:iam::1:role/r", "outside", "900", "2011-06-15"]);
    assert!(asked.form("RoleSessionName").starts_with("kvass-"));

    // An hour is long enough for another round.
    aws.edit(|state| drop(state.answers.insert("DescribeInstances".to_owned(), vec![instances(&["10.0.0.2"], "")])));
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.2:80"]).await;
    assert_eq!(aws.given(), 1);
    // What is revoked is asked for anew, here for four minutes.
    aws.edit(|state| {
        state.keys.retain(|key, _| key == "AKID");
        state.lifetime = 240;
        state.answers.insert("DescribeInstances".to_owned(), vec![instances(&["10.0.0.3"], "")]);
    });
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.3:80"] && job.errors.is_empty()).await;
    let before = aws.given();
    assert!(before >= 2);
    aws.edit(|state| drop(state.answers.insert("DescribeInstances".to_owned(), vec![instances(&["10.0.0.4"], "")])));
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.4:80"] && job.errors.is_empty()).await;
    assert!(aws.given() > before, "the margin is five minutes");
}

#[tokio::test]
async fn a_web_identity_is_exchanged() {
    let aws = start(&[], vec![instances(&["10.0.0.1"], "")]).await;
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "jwt-of-the-cluster\n").unwrap();
    let token = token.display().to_string();
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ("AWS_ROLE_SESSION_NAME", "kvass"),
        ("AWS_REGION", "eu-west-2"),
        ("AWS_ENDPOINT_URL", &aws.service.url),
    ];
    let (_manager, mut snapshots) = discover_in(environment(&variables), "aws_sd_configs", "role: ec2");
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!((addresses(&found), found.groups[0].source.as_str()), (vec!["10.0.0.1:80".to_owned()], "eu-west-2"));
    let asked = aws.asked("AssumeRoleWithWebIdentity").remove(0);
    let told = ["WebIdentityToken", "RoleArn", "RoleSessionName"].map(|name| asked.form(name));
    assert_eq!(told, ["jwt-of-the-cluster", "arn:aws:iam::1:role/r", "kvass"]);
}

#[tokio::test]
async fn the_machine_says_who_and_where_it_is() {
    let aws = start(&[], vec![instances(&["10.0.0.1"], "")]).await;
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws.service.url.as_str()), ("AWS_ENDPOINT_URL_EC2", &aws.service.url)];
    let (_manager, mut snapshots) = discover_in(environment(&variables), "ec2_sd_configs", "");
    let found = until(&mut snapshots, "j", |job| job.complete).await;
    assert_eq!((addresses(&found), found.groups[0].source.as_str()), (vec!["10.0.0.1:80".to_owned()], "eu-west-1"));
    assert!(aws.asked("DescribeInstances")[0].header("authorization").contains("/eu-west-1/ec2/aws4_request"));

    let variables = [("AWS_EC2_METADATA_DISABLED", "true")];
    let (_manager, mut snapshots) = discover_in(environment(&variables), "ec2_sd_configs", "");
    let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
    let expected =
        "ec2_sd_configs: cannot determine the AWS region: no credentials or region elsewhere, and AWS_EC2_METADATA_DISABLED";
    assert!(failing.errors[0].starts_with(expected), "{:?}", failing.errors);
}

/// As where kvass runs in a container and what the machine answers is not let through to it.
#[tokio::test]
async fn a_machine_that_gives_no_token_is_asked_without() {
    for (status, more, expected) in [
        (403, None, None),
        (0, None, None),
        (400, None, Some("PUT /latest/api/token: server returned HTTP status 400")),
        (405, Some(("AWS_EC2_METADATA_V1_DISABLED", "true")), Some("PUT /latest/api/token: server returned HTTP status 405")),
    ] {
        let aws = start(&[], vec![instances(&["10.0.0.1"], "")]).await;
        aws.edit(|state| state.token_status = status);
        let mut variables = vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws.service.url.as_str())];
        variables.extend(more);
        let (_manager, mut snapshots) = discover_in(environment(&variables), "ec2_sd_configs", &section(&aws, ""));
        match expected {
            None => drop(until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.1:80"]).await),
            Some(expected) => {
                let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
                assert!(failing.errors[0].contains(expected), "{:?}", failing.errors);
            }
        }
    }
}

#[tokio::test]
async fn a_container_is_given_credentials() {
    let aws = start(&[], vec![instances(&["10.0.0.1"], "")]).await;
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "container-token").unwrap();
    let (url, token) = (format!("{}/container", aws.service.url), token.display().to_string());
    let variables = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token)];
    let (_manager, mut snapshots) = discover_in(environment(&variables), "ec2_sd_configs", &section(&aws, ""));
    until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.1:80"]).await;
}

#[tokio::test]
async fn profiles_lead_to_each_other() {
    let aws = start(&[("AKID", "s3cret")], vec![instances(&["10.0.0.1"], "")]).await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join(".aws")).unwrap();
    let config = "[profile ops]\nrole_arn = arn:aws:iam::1:role/ops\nsource_profile = base\nexternal_id = x\nduration_seconds = 1800\n\
        [profile loop]\nrole_arn = a\nsource_profile = loop2\n[profile loop2]\nrole_arn = b\nsource_profile = loop\n\
        [profile process]\ncredential_process = echo '{\"Version\": 1, \"AccessKeyId\": \"AKID\", \"SecretAccessKey\": \"s3cret\"}'\n";
    std::fs::write(dir.path().join(".aws/config"), config).unwrap();
    let credentials = "[base]\naws_access_key_id = AKID\naws_secret_access_key = s3cret\n";
    std::fs::write(dir.path().join(".aws/credentials"), credentials).unwrap();
    let home = dir.path().display().to_string();
    // Named in the section, a profile counts more than keys of the environment.
    let variables = [
        ("HOME", home.as_str()),
        ("AWS_ACCESS_KEY_ID", "WRONG"),
        ("AWS_SECRET_ACCESS_KEY", "w"),
        ("AWS_ENDPOINT_URL_STS", &aws.service.url),
    ];
    for (profile, assumed) in [("base", 0), ("ops", 1), ("process", 1)] {
        let more = format!(", profile: {profile}");
        let (_manager, mut snapshots) = discover_in(environment(&variables), "ec2_sd_configs", &section(&aws, &more));
        until(&mut snapshots, "j", |job| addresses(job) == ["10.0.0.1:80"]).await;
        assert_eq!(aws.given(), assumed, "{profile}");
    }
    let asked = aws.asked("AssumeRole").remove(0);
    assert_eq!(["ExternalId", "DurationSeconds"].map(|name| asked.form(name)), ["x", "1800"]);
    for (profile, expected) in [
        ("absent", "no AWS credentials: profile \"absent\" is in none of AWS' shared files"),
        ("loop", "too many profiles that name each other"),
    ] {
        let more = format!(", profile: {profile}");
        let (_manager, mut snapshots) = discover_in(environment(&variables), "ec2_sd_configs", &section(&aws, &more));
        let failing = until(&mut snapshots, "j", |job| !job.errors.is_empty()).await;
        assert!(failing.errors[0].contains(expected), "{:?}", failing.errors);
    }
}
