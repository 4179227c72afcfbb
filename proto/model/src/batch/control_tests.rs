use super::*;
use crate::batch::{BatchError, BatchRules};

fn marker(kind: ControlKind) -> RecordBatch {
    let marker = ControlMarker { kind, coordinator_epoch: 12 };
    marker.batch(ProducerId(7), ProducerEpoch(3), Timestamp::from_millis(99)).unwrap()
}

#[test]
fn a_marker_comes_back() {
    for kind in [ControlKind::Abort, ControlKind::Commit] {
        let batch = marker(kind);
        assert_eq!(ControlMarker::parse(&batch), Ok(ControlMarker { kind, coordinator_epoch: 12 }));
        assert_eq!(batch.header().attributes, 0x30);
        assert_eq!(batch.header().base_sequence, Sequence::NONE);
    }
}

#[test]
fn a_marker_has_the_bytes_of_kafkas_format() {
    let bytes = marker(ControlKind::Commit).into_bytes();
    let record = [32, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 12, 0];
    assert_eq!(&bytes[61..], record);
}

#[test]
fn only_the_broker_may_write_markers() {
    let bytes = marker(ControlKind::Commit).into_bytes();
    let refused = RecordBatch::validate(bytes.clone(), &BatchRules::default()).unwrap_err();
    assert_eq!(refused, BatchError::Control);
    let broker = BatchRules { control_allowed: true, key_required: true, ..BatchRules::default() };
    assert!(RecordBatch::validate(bytes, &broker).is_ok());
}

#[test]
fn a_batch_of_records_holds_no_marker() {
    let mut builder = BatchBuilder::new(Compression::None, 0);
    builder.append(Timestamp::from_millis(1), None, None, &[]);
    assert_eq!(ControlMarker::parse(&builder.build().unwrap()), Err(ControlError::NotControl));
}

#[test]
fn a_control_batch_with_anything_but_one_marker_is_refused() {
    let cases: [&[(&[u8], &[u8])]; 4] = [
        &[(&[0, 0, 0, 1], &[0, 0, 0, 0, 0, 1]), (&[0, 0, 0, 1], &[0, 0, 0, 0, 0, 1])],
        &[(&[0, 0, 0], &[0, 0, 0, 0, 0, 1])],
        &[(&[0, 0, 0, 1], &[0, 0, 0])],
        &[(&[0, 0, 0, 9], &[0, 0, 0, 0, 0, 1])],
    ];
    for records in cases {
        let mut builder = BatchBuilder::new(Compression::None, 0)
            .producer(ProducerId(1), ProducerEpoch(0), Sequence::NONE)
            .marker();
        for (key, value) in records {
            builder.append(Timestamp::from_millis(1), Some(key), Some(value), &[]);
        }
        let bytes = builder.build().unwrap().into_bytes();
        let rules = BatchRules { control_allowed: true, ..BatchRules::default() };
        assert!(matches!(RecordBatch::validate(bytes, &rules), Err(BatchError::Marker(_))), "{records:?}");
    }
}
