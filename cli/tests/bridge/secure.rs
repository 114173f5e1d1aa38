//! Bridges that meet by TLS, with certificates that the test makes itself.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use sysv_channel::Channel;

use crate::pair::{Pair, address};

/// An authority, and files with the certificates that it gave to both sides.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Authority { issuer: CertifiedIssuer::self_signed(parameters, key).unwrap() }
    }

    /// Writes the authority's certificate, and one for this host with its key.
    fn write(&self, directory: &Path, side: &str, host: &str) -> [String; 3] {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let files = [
            ("authority", self.issuer.pem()),
            ("certificate", certificate.pem()),
            ("key", key.serialize_pem()),
        ];
        files.map(|(name, pem)| {
            let path = directory.join(format!("{side}-{name}.pem"));
            fs::write(&path, pem).unwrap();
            path.to_str().unwrap().to_owned()
        })
    }
}

#[test]
fn both_sides_show_certificates_and_one_without_is_not_let_in() {
    let pair = Pair::new("bridge tls");
    let [here, there] = pair.make(&Channel::<String>::options());
    let directory = pair.runtime.path();
    let address = address("tls");
    let host = address[4..].split(':').next().unwrap();
    let authority = Authority::new();
    let write = |file: &str, value: serde_json::Value| {
        let path = directory.join(file);
        fs::write(&path, value.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let [root, certificate, key] = authority.write(directory, "there", host);
    let listens = write(
        "there.json5",
        json!({
            "listen": { "endpoints": [address] },
            "transport": { "link": { "tls": {
                "root_ca_certificate": root,
                "listen_certificate": certificate,
                "listen_private_key": key,
                "enable_mtls": true,
            } } },
        }),
    );
    let connects = |file: &str, authority: &Authority| {
        let [_, certificate, key] = authority.write(directory, file, "client");
        write(
            file,
            json!({
                "connect": { "endpoints": [address] },
                "transport": { "link": { "tls": {
                    "root_ca_certificate": root,
                    "connect_certificate": certificate,
                    "connect_private_key": key,
                    "enable_mtls": true,
                } } },
            }),
        )
    };
    let stranger = connects("stranger.json5", &Authority::new());
    let friend = connects("friend.json5", &authority);
    let _inlet = pair.bridge(&["in", pair.there.name(), "--key", &pair.key, "--config", &listens]);
    let out = |config: &str| {
        pair.bridge(&["out", pair.here.name(), "--key", &pair.key, "--config", config])
    };
    let rx = there.receiver().unwrap();
    here.sender().unwrap().send(&"by tls".to_owned()).unwrap();

    let refused = out(&stranger);
    refused.says("waits for `bridge in`, which is not there");
    refused.stop();
    assert!(rx.try_recv().is_err());

    let _outlet = out(&friend);
    assert_eq!(rx.recv().unwrap(), "by tls");
}
