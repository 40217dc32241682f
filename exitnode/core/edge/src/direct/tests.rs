use std::time::Duration;

use hawse_proto::ir::UrlTarget;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    net::TcpListener,
    task::JoinSet,
    time::{advance, pause, resume},
};
use tokio_rustls::TlsAcceptor;

use super::{resolve::testing::Script, *};

fn site(scheme: &str, host: &str, port: u16, addresses: &[&str]) -> Site {
    Site::new(&UrlTarget {
        scheme: scheme.into(),
        host: host.into(),
        port: port.into(),
        addresses: addresses.iter().map(ToString::to_string).collect(),
    })
    .unwrap()
}

fn direct(resolver: Arc<Script>, allowed: &[&str]) -> Direct {
    let direct = Direct {
        resolver,
        ..Direct::default()
    };
    direct
        .allow(&allowed.iter().map(ToString::to_string).collect::<Vec<_>>())
        .unwrap();
    direct
}

async fn open(direct: &Direct, site: &Site) -> Result<Stream<DuplexStream>, Fault> {
    direct.open(site, AppProtocol::Http1).await
}

fn code(opened: Result<Stream<DuplexStream>, Fault>) -> u32 {
    let fault = opened.unwrap_err();
    assert!(fault.nothing_sent);
    fault.code.number
}

#[tokio::test]
async fn addresses_that_only_the_cluster_reaches_are_refused_unheard() {
    // Something listens, so that a refusal is not a failed connection.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let nobody = Script::new(&[None]);
    let direct = direct(nobody.clone(), &[]);
    for host in [
        "127.0.0.1",
        "169.254.169.254",
        "10.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
    ] {
        assert_eq!(
            code(open(&direct, &site("http", host, port, &[])).await),
            1016,
            "{host}"
        );
    }
    for address in ["127.0.0.1", "169.254.169.254", "::1"] {
        assert_eq!(
            code(open(&direct, &site("http", "web", port, &[address])).await),
            1016,
            "a Service at {address}"
        );
    }
    assert_eq!(nobody.asked(), 0, "an address is not looked up");
    assert!(
        tokio::time::timeout(Duration::from_millis(20), listener.accept())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_name_that_turns_to_an_address_inside_is_refused_at_the_next_look_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // 127.0.0.1 plays the public address; 127.0.0.2, where the rebinding leads, is not allowed.
    let script = Script::new(&[Some(&["127.0.0.1"]), Some(&["127.0.0.2"])]);
    let direct = direct(script.clone(), &["127.0.0.1/32"]);
    let site = site("http", "rebind.example", port, &[]);
    assert!(open(&direct, &site).await.is_ok());
    assert!(open(&direct, &site).await.is_ok(), "within the same answer");
    assert_eq!(
        script.asked(),
        1,
        "what was judged is what is dialled: there is no look-up in between"
    );
    pause();
    advance(limits::RESOLVED_FOR).await;
    resume();
    assert_eq!(code(open(&direct, &site).await), 1016);
    assert_eq!(script.asked(), 2);
}

#[tokio::test]
async fn of_a_mixed_answer_only_what_is_allowed_is_dialled() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = Script::new(&[Some(&["169.254.169.254", "10.0.0.1", "127.0.0.1"])]);
    let direct = direct(script, &["127.0.0.1/32"]);
    let Ok(Stream::Plain(socket)) = open(&direct, &site("http", "mixed.example", port, &[])).await else {
        panic!("not dialled")
    };
    assert_eq!(socket.peer_addr().unwrap(), listener.local_addr().unwrap());
}

#[tokio::test]
async fn a_changed_list_of_networks_holds_at_once_and_a_bad_one_changes_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let direct = direct(Script::new(&[None]), &[]);
    let site = site("http", "127.0.0.1", listener.local_addr().unwrap().port(), &[]);
    assert_eq!(code(open(&direct, &site).await), 1016);
    direct.allow(&["127.0.0.0/8".into()]).unwrap();
    assert!(open(&direct, &site).await.is_ok());
    assert!(
        direct
            .allow(&["10.0.0.0/8".into(), "127".into()])
            .unwrap_err()
            .contains("127")
    );
    assert!(open(&direct, &site).await.is_ok());
    direct.allow(&[]).unwrap();
    assert_eq!(code(open(&direct, &site).await), 1016);
}

#[tokio::test]
async fn a_target_that_cannot_be_reached_is_the_apps_refusal() {
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let direct = direct(Script::new(&[None]), &["127.0.0.0/8"]);
    assert_eq!(code(open(&direct, &site("http", "127.0.0.1", port, &[])).await), 1003);
    let fault = open(&direct, &site("http", "gone.example", port, &[]))
        .await
        .unwrap_err();
    assert_eq!(fault.code.number, 1003);
    assert!(fault.detail.contains("could not be looked up"), "{}", fault.detail);
}

/// A TLS app on loopback that says "hello", and a `Direct` that trusts its certificate for `names`.
async fn tls_app(names: &[&str], resolver: Arc<Script>) -> (Direct, u16, JoinSet<()>) {
    let made = rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut app = JoinSet::new();
    app.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(socket).await {
                let _ = stream.write_all(b"hello").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let direct = Direct {
        tls: Arc::new(tls::Configs::with(roots)),
        ..direct(resolver, &["127.0.0.0/8"])
    };
    (direct, port, app)
}

#[tokio::test]
async fn an_https_target_has_to_prove_the_name_of_its_url() {
    let resolver = Script::new(&[Some(&["127.0.0.1"])]);
    let (direct, port, _app) = tls_app(&["app.example"], resolver.clone()).await;
    let mut stream = open(&direct, &site("https", "app.example", port, &[])).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "hello");
    for (host, addresses) in [
        ("other.example", &[][..]),
        ("127.0.0.1", &[]),
        ("other.example", &["127.0.0.1"]),
    ] {
        let fault = open(&direct, &site("https", host, port, addresses)).await.unwrap_err();
        assert_eq!(fault.code.number, 1003, "{host}");
        assert!(fault.detail.contains("TLS to the target failed"), "{}", fault.detail);
    }
}

#[tokio::test]
async fn outside_of_tests_only_the_webs_roots_are_trusted() {
    let (testing, port, _app) = tls_app(&["app.example"], Script::new(&[Some(&["127.0.0.1"])])).await;
    let real = Direct {
        tls: Direct::default().tls,
        ..testing
    };
    let fault = open(&real, &site("https", "app.example", port, &[])).await.unwrap_err();
    assert!(fault.detail.contains("TLS to the target failed"), "{}", fault.detail);
}
