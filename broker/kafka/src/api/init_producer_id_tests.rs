use super::*;
use crate::testing::{Bench, call};

const REFUSED: (i64, i16) = (-1, -1);

async fn ask(bench: &Bench, version: i16, request: InitProducerIdRequest) -> (i16, (i64, i16)) {
    let told = handle(bench.context(), call(version), request).await;
    (told.error_code, (told.producer_id, told.producer_epoch))
}

fn plain() -> InitProducerIdRequest {
    message!(InitProducerIdRequest { transactional_id: None })
}

#[tokio::test]
async fn each_producer_gets_an_id_of_its_own_whatever_it_had() {
    let bench = Bench::new().await;
    let mut seen = std::collections::BTreeSet::new();
    for version in 0..=5 {
        let (code, (id, epoch)) = ask(&bench, version, plain()).await;
        assert!(code == 0 && id >= 0 && epoch == 0 && seen.insert(id), "version {version}");
        let (producer_id, producer_epoch) = (id, 3);
        let again = message!(InitProducerIdRequest { transactional_id: None, producer_id, producer_epoch });
        let (code, (id, epoch)) = ask(&bench, version, again).await;
        assert!(code == 0 && epoch == 0 && seen.insert(id), "version {version}");
    }
}

#[tokio::test]
async fn a_transactional_id_is_refused_for_good() {
    let bench = Bench::new().await;
    for (id, code) in [("orders", 53), ("", 42)] {
        let asked = message!(InitProducerIdRequest { transactional_id: Some(id.into()) });
        assert_eq!(ask(&bench, 4, asked).await, (code, REFUSED));
    }
}

#[tokio::test]
async fn an_id_without_an_epoch_is_refused_and_so_is_an_epoch_without_an_id() {
    let bench = Bench::new().await;
    for (producer_id, producer_epoch) in [(7, -1), (-1, 7)] {
        let asked = message!(InitProducerIdRequest { transactional_id: None, producer_id, producer_epoch });
        assert_eq!(ask(&bench, 3, asked).await, (42, REFUSED));
    }
}

#[tokio::test]
async fn a_broker_that_ends_gives_out_no_ids() {
    let bench = Bench::new().await;
    bench.broker().shutdown().await.unwrap();
    assert_eq!(ask(&bench, 4, plain()).await, (6, REFUSED));
}
