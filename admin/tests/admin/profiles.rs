//! Tests of credentials of people: the tool takes the profiles of the AWS command line.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;
use testkit::server::{Answer, Api, Reply, Request, Server};
use tokio::process::Command;

use super::stage::RunResult;

const BINARY: &str = env!("CARGO_BIN_EXE_contact-sync-admin");

/// AWS as a server that records the access key of each request: the Systems Manager with an empty
/// settings document, and the portal of IAM Identity Center.
#[derive(Default)]
struct Aws {
    keys: Mutex<Vec<String>>,
}

impl Api for Aws {
    fn reply(&self, request: &Request) -> Reply {
        if request.path == "/federation/credentials" {
            assert_eq!(request.header("x-amz-sso_bearer_token"), Some("token"));
            let credentials = json!({"roleCredentials": {
                "accessKeyId": "AKIDSSO", "secretAccessKey": "secret", "sessionToken": "session",
                "expiration": 4_102_444_800_000_i64
            }});
            return Answer::json(200, &credentials).into();
        }
        let authorization = request.header("authorization").unwrap_or_default();
        let key = authorization
            .split("Credential=")
            .nth(1)
            .and_then(|rest| rest.split('/').next());
        let mut keys = self.keys.lock().expect("no panic");
        keys.push(key.unwrap_or_default().to_owned());
        let parameter = json!({"Parameter": {
            "Name": "/settings", "Type": "String", "Value": ""
        }});
        Answer::json(200, &parameter).into()
    }
}

/// Home of a person, with the configuration of the AWS command line.
struct Home {
    folder: TempDir,
    aws: Arc<Aws>,
    server: Server,
}

impl Home {
    async fn new(config: &str) -> Self {
        let aws = Arc::<Aws>::default();
        let home = Self {
            folder: TempDir::new().expect("a folder"),
            server: Server::start(Arc::clone(&aws)).await,
            aws,
        };
        home.write(".aws/config", config);
        home
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.folder.path().join(path);
        let parent = path.parent().expect("a folder");
        std::fs::create_dir_all(parent).expect("a folder");
        std::fs::write(path, content).expect("written");
    }

    /// Runs a command that reads one parameter, with the profile `people`.
    async fn run(&self) -> RunResult {
        let output = Command::new(BINARY)
            .args(["settings", "--config", "ssm:/settings", "--json"])
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", "/usr/bin:/bin")
            .env("AWS_PROFILE", "people")
            .env("AWS_ENDPOINT_URL", self.server.url())
            .env("CONTACT_SYNC_PRESET", "test")
            .stdin(Stdio::null())
            .output()
            .await
            .expect("the tool runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        RunResult {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Asserts that the command calls AWS with this access key.
    async fn assert_calls_with(&self, key: &str) {
        let ran = self.run().await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(*self.aws.keys.lock().expect("no panic"), [key]);
    }

    /// Asserts that the command fails with this remedy.
    async fn assert_fails_with(&self, remedy: &str) {
        let ran = self.run().await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains(remedy), "{ran:?}");
        assert!(self.aws.keys.lock().expect("no panic").is_empty());
    }
}

const SSO: &str = "[profile people]
region = eu-west-1
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Operator

[sso-session corp]
sso_region = eu-west-1
sso_start_url = https://corp.example.com/start
sso_registration_scopes = sso:account:access
";

/// Token of the session `corp`: the name of the file is the SHA-1 of the session's name.
const SSO_TOKEN: &str = ".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json";

fn sso_token(expires_at: &str) -> String {
    json!({
        "accessToken": "token", "expiresAt": expires_at, "region": "eu-west-1",
        "startUrl": "https://corp.example.com/start"
    })
    .to_string()
}

#[tokio::test]
async fn a_profile_with_a_credential_process_takes_the_keys_that_it_prints() {
    let keys = json!({
        "Version": 1, "AccessKeyId": "AKIDPROCESS", "SecretAccessKey": "secret"
    });
    let home = Home::new("").await;
    home.write("keys.json", &keys.to_string());
    let file = Path::new(home.folder.path()).join("keys.json");
    let config = format!(
        "[profile people]\nregion = eu-west-1\ncredential_process = cat \"{}\"\n",
        file.display()
    );
    home.write(".aws/config", &config);
    home.assert_calls_with("AKIDPROCESS").await;
}

#[tokio::test]
async fn a_credential_process_that_fails_is_named() {
    let config = "[profile people]\nregion = eu-west-1\ncredential_process = cat /no/such/file\n";
    let home = Home::new(config).await;
    home.assert_fails_with("the profile people gives no credentials: ")
        .await;
}

#[tokio::test]
async fn a_profile_of_the_identity_center_takes_the_cached_token() {
    let home = Home::new(SSO).await;
    home.write(SSO_TOKEN, &sso_token("2100-01-01T00:00:00Z"));
    home.assert_calls_with("AKIDSSO").await;
}

#[tokio::test]
async fn a_profile_of_the_identity_center_without_a_valid_token_names_the_command_that_gets_one() {
    let home = Home::new(SSO).await;
    home.assert_fails_with("run `aws sso login --profile people`")
        .await;
    home.write(SSO_TOKEN, &sso_token("2020-01-01T00:00:00Z"));
    home.assert_fails_with("run `aws sso login --profile people`")
        .await;
}

const LOGIN: &str = "[profile people]
region = eu-west-1
login_session = arn:aws:iam::123456789012:user/operator
";

/// Credentials of the session: the name of the file is the SHA-256 of the session's ARN.
const LOGIN_TOKEN: &str =
    ".aws/login/cache/05d4293b920f9332873333ef86001c397e826748e69c2ddcd0f661ed93f13355.json";

#[tokio::test]
async fn a_profile_of_a_console_login_takes_the_cached_credentials() {
    let home = Home::new(LOGIN).await;
    let token = json!({
        "accessToken": {
            "accessKeyId": "AKIDLOGIN", "secretAccessKey": "secret", "sessionToken": "session",
            "accountId": "123456789012", "expiresAt": "2100-01-01T00:00:00Z"
        },
        "tokenType": "aws_sigv4", "refreshToken": "refresh", "idToken": "id",
        "clientId": "arn:aws:signin:::devtools/same-device", "dpopKey": "not used while valid"
    });
    home.write(LOGIN_TOKEN, &token.to_string());
    home.assert_calls_with("AKIDLOGIN").await;
}

#[tokio::test]
async fn a_profile_of_a_console_login_without_a_session_names_the_command_that_gets_one() {
    let home = Home::new(LOGIN).await;
    home.assert_fails_with("run `aws login --profile people`")
        .await;
}
