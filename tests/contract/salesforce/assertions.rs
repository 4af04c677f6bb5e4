//! Token grants by a signed assertion in place of the client secret.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use jsonwebtoken::DecodingKey;
use serde_json::{Value, json};
use testkit::mock_salesforce::{CLIENT_ID, Endpoint, Signer};
use testkit::org::{Org, words};

/// Generates a key. Returns its private half as the secret holds it, and the public one.
pub(crate) fn key() -> (String, DecodingKey) {
    let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
    let der: Pkcs8V1Der<'_> = pair.as_der().expect("PKCS 8");
    let text = base64_simd::STANDARD.encode_to_string(der.as_ref());
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line))
        .collect();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        lines.join("\n")
    );
    (pem, DecodingKey::from_rsa_der(pair.public_key().as_ref()))
}

pub(crate) fn jwt_secret(org: &Org, pem: &str, username: &str, audience: Option<&str>) -> Value {
    let mut secret = json!({
        "login_url": org.server.url(), "client_id": CLIENT_ID, "private_key_pem": pem,
        "username": username,
    });
    if let Some(audience) = audience {
        secret["audience"] = audience.into();
    }
    secret
}

#[tokio::test]
async fn a_valid_assertion_is_granted_a_token_and_a_false_one_is_not() {
    let (pem, public_key) = key();
    let (other_pem, _) = key();
    let user = "sync@acme.example";
    let (production, sandbox) = (
        "https://login.salesforce.com",
        "https://test.salesforce.com",
    );
    for (signed_with, sub, aud, expects, word) in [
        (&pem, user, None, production, "delivered"),
        (&pem, user, Some(sandbox), sandbox, "delivered"),
        (
            &pem,
            user,
            Some(sandbox),
            production,
            "stop credential invalid_grant",
        ),
        (
            &other_pem,
            user,
            None,
            production,
            "stop credential invalid_grant",
        ),
        (
            &pem,
            "another@else.example",
            None,
            production,
            "stop configuration invalid_grant",
        ),
    ] {
        let org = Org::new().await;
        let audience = expects.to_owned();
        org.mock.require_jwt(Signer {
            public_key: public_key.clone(),
            username: user.to_owned(),
            audience,
        });
        org.write_secret(&jwt_secret(&org, signed_with, sub, aud));
        assert_eq!(
            words(&org.upsert(&org.leads([1])).await),
            [word],
            "{sub} {aud:?} {expects}"
        );
    }
}

#[tokio::test]
async fn an_assertion_is_signed_anew_for_each_token() {
    let (pem, public_key) = key();
    let org = Org::new().await;
    let (username, audience) = (
        "sync@acme.example".to_owned(),
        "https://login.salesforce.com".to_owned(),
    );
    org.mock.require_jwt(Signer {
        public_key,
        username: username.clone(),
        audience,
    });
    org.write_secret(&jwt_secret(&org, &pem, &username, None));
    for _ in 0..2 {
        assert_eq!(words(&org.upsert(&org.leads([1])).await), ["delivered"]);
        org.mock.expire_tokens();
    }
    assert_eq!(org.mock.count(Endpoint::Token), 2);
    org.assert_polite();
}

#[tokio::test]
async fn a_client_secret_where_the_org_requires_an_assertion_is_a_misconfiguration() {
    let (_, public_key) = key();
    let org = Org::new().await;
    let (username, audience) = (
        "sync@acme.example".to_owned(),
        "https://login.salesforce.com".to_owned(),
    );
    org.mock.require_jwt(Signer {
        public_key,
        username,
        audience,
    });
    assert_eq!(
        words(&org.upsert(&org.leads([1])).await),
        ["stop configuration unsupported_grant_type"]
    );
}
