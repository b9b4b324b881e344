use super::*;

const CONFIG: &str = "\
[default]
region = eu-west-1
[profile own]
region = eu-central-1
endpoint_url = https://own.example
ca_bundle = ~/ca.pem
services = here
[services here]
ssm =
  endpoint_url = https://ssm.own.example
[profile sso]
sso_session = corp
sso_account_id = 1
sso_role_name = r
[sso-session corp]
sso_start_url = https://corp.example
sso_region = us-east-1
";

async fn load(options: Options, vars: &[(&str, &str)]) -> Result<Settings, Error> {
    let mut vars = vars.to_vec();
    vars.push(("HOME", "/home"));
    let fs = Fs::from_map([("/home/.aws/config".to_owned(), CONFIG.as_bytes().to_vec())].into());
    Settings::load(&options, Env::from_slice(&vars), fs).await
}

fn profile(name: &str) -> Options {
    Options {
        profile: Some(name.to_owned()),
        ..Options::default()
    }
}

#[tokio::test]
async fn region_by_precedence() {
    let region = async |options: Options, vars: &[(&str, &str)]| {
        let settings = load(options.clone(), vars).await.expect("settings");
        settings.region(&options).expect("a region").expect("one")
    };
    let given = Options {
        region: Some("ap-south-1".to_owned()),
        ..Options::default()
    };
    let both = [
        ("AWS_REGION", "us-west-1"),
        ("AWS_DEFAULT_REGION", "us-west-2"),
    ];
    assert_eq!(region(given, &both).await, "ap-south-1");
    assert_eq!(region(Options::default(), &both).await, "us-west-1");
    assert_eq!(region(profile("own"), &both[1..]).await, "us-west-2");
    assert_eq!(region(profile("own"), &[]).await, "eu-central-1");
    assert_eq!(
        region(profile(""), &[("AWS_PROFILE", "own")]).await,
        "eu-central-1"
    );
    assert_eq!(region(Options::default(), &[]).await, "eu-west-1");
}

#[tokio::test]
async fn impossible_regions_are_refused() {
    for region in ["us_east_1", "US-EAST-1", "x y", "a.evil.com", "-a"] {
        let options = Options {
            region: Some(region.to_owned()),
            ..Options::default()
        };
        let settings = load(options.clone(), &[]).await.expect("settings");
        assert!(settings.region(&options).is_err(), "{region}");
    }
}

#[tokio::test]
async fn endpoints_by_precedence() {
    let ssm = async |options, vars: &[(&str, &str)]| {
        load(options, vars).await.expect("settings").ssm_endpoint
    };
    let vars = [
        ("AWS_ENDPOINT_URL", "https://all.example"),
        ("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:1"),
    ];
    let given = Options {
        endpoint_url: Some("https://given.example".to_owned()),
        ..Options::default()
    };
    let is = |url: &str| Some(url.to_owned());
    assert_eq!(ssm(given.clone(), &vars).await, is("https://given.example"));
    assert_eq!(ssm(profile("own"), &vars).await, is("http://127.0.0.1:1"));
    assert_eq!(
        ssm(profile("own"), &vars[..1]).await,
        is("https://all.example")
    );
    assert_eq!(
        ssm(profile("own"), &[]).await,
        is("https://ssm.own.example")
    );
    assert_eq!(ssm(Options::default(), &[]).await, None);
    let ignore = [
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
        vars[0],
        vars[1],
    ];
    assert_eq!(ssm(profile("own"), &ignore).await, None);
    assert_eq!(
        ssm(given.clone(), &ignore).await,
        is("https://given.example")
    );

    let settings = load(given, &[]).await.expect("settings");
    assert_eq!(
        settings.kms_endpoint, None,
        "--endpoint-url is for SSM alone"
    );
    assert_eq!(
        settings.sts_endpoint, None,
        "--endpoint-url is for SSM alone"
    );
    let settings = load(profile("own"), &[]).await.expect("settings");
    assert_eq!(settings.kms_endpoint, is("https://own.example"));
    let settings = load(Options::default(), &[("AWS_ENDPOINT_URL_KMS", "http://k")])
        .await
        .expect("settings");
    assert_eq!(settings.kms_endpoint, is("http://k"));
    assert_eq!(settings.ssm_endpoint, None);
    assert_eq!(settings.instance_connect_endpoint, None);
    let vars = [("AWS_ENDPOINT_URL_EC2_INSTANCE_CONNECT", "http://e")];
    let settings = load(Options::default(), &vars).await.expect("settings");
    assert_eq!(settings.instance_connect_endpoint, is("http://e"));
}

#[tokio::test]
async fn impossible_endpoints_are_refused_and_traced_to_their_source() {
    for url in ["ssm.example", "ftp://x", "https://", "x:y"] {
        let error = load(Options::default(), &[("AWS_ENDPOINT_URL_SSM", url)])
            .await
            .err()
            .unwrap_or_else(|| panic!("{url} was taken"));
        assert!(
            error
                .hint()
                .is_some_and(|hint| hint.contains("AWS_ENDPOINT_URL")),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn unknown_profiles_are_named_with_the_known_ones() {
    for (options, vars) in [
        (profile("nope"), vec![]),
        (Options::default(), vec![("AWS_PROFILE", "nope")]),
    ] {
        let error = load(options, &vars).await.err().expect("unknown");
        assert!(error.to_string().contains("\"nope\""), "{error}");
        assert_eq!(
            error.hint().as_deref(),
            Some("the profiles are: default, own, sso")
        );
    }
}

#[tokio::test]
async fn bundles_come_from_the_environment_then_the_profile() {
    let settings = load(profile("own"), &[("AWS_CA_BUNDLE", "/x.pem")])
        .await
        .expect("settings");
    assert_eq!(settings.ca_bundle, Some("/x.pem".into()));
    let settings = load(profile("own"), &[]).await.expect("settings");
    assert_eq!(settings.ca_bundle, Some(Path::new("/home").join("ca.pem")));
}

#[tokio::test]
async fn advice_fits_the_credentials() {
    let keys = [("AWS_ACCESS_KEY_ID", "x")];
    let renew = async |options, vars: &[(&str, &str)]| {
        load(options, vars).await.expect("settings").context().renew
    };
    assert_eq!(
        renew(profile("sso"), &keys).await,
        "run `aws sso login --profile sso`"
    );
    assert!(
        renew(Options::default(), &keys)
            .await
            .contains("AWS_SESSION_TOKEN")
    );
    assert!(
        renew(Options::default(), &[])
            .await
            .contains("aws configure")
    );
}

#[test]
fn ecs_endpoints_are_not_ssm_endpoints() {
    let ecs = "ecs:cluster_task_task-1";
    let cases = [
        (ecs, "https://ecs.us-east-1.amazonaws.com", None),
        (ecs, "https://ecs-fips.us-east-1.amazonaws.com", None),
        (ecs, "https://ecs.cn-north-1.amazonaws.com.cn", None),
        (ecs, "", None),
        (ecs, "http://127.0.0.1:8080", Some("http://127.0.0.1:8080")),
        (
            ecs,
            "https://ecs.corp.example",
            Some("https://ecs.corp.example"),
        ),
        (
            "i-1",
            "https://ssm.us-east-1.amazonaws.com",
            Some("https://ssm.us-east-1.amazonaws.com"),
        ),
        ("i-1", "", None),
    ];
    for (target, endpoint, expected) in cases {
        assert_eq!(
            ssm_endpoint_for(target, endpoint).as_deref(),
            expected,
            "{target} {endpoint}"
        );
    }
}
