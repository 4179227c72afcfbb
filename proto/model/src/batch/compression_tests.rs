use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 20;

proptest! {
    #[test]
    fn every_codec_unfolds_what_it_packed(plain: Vec<u8>, codec in 0_i16..5) {
        let codec = Compression::from_id(codec).unwrap();
        let packed = codec.compress(&plain).unwrap();
        prop_assert_eq!(codec.decompress(&packed, LIMIT).unwrap(), plain);
    }

    #[test]
    fn random_bytes_never_panic_and_stay_within_the_limit(bytes: Vec<u8>, codec in 0_i16..5) {
        let codec = Compression::from_id(codec).unwrap();
        if let Ok(plain) = codec.decompress(&Bytes::from(bytes), 100) {
            prop_assert!(plain.len() <= 100);
        }
    }
}

#[test]
fn a_bomb_is_refused_at_the_limit() {
    let plain = vec![0; 64 << 20];
    for codec in Compression::ALL {
        let packed = codec.compress(&plain).unwrap();
        let refused = codec.decompress(&packed, LIMIT).unwrap_err();
        assert_eq!(refused, CompressionError::TooLarge { codec: codec.name(), limit: LIMIT });
    }
}

#[test]
fn several_xerial_blocks_and_one_raw_block_unfold() {
    let plain: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let framed = Compression::Snappy.compress(&plain).unwrap();
    assert_eq!(Compression::Snappy.decompress(&framed, LIMIT).unwrap(), plain);
    let raw = Bytes::from(snap::raw::Encoder::new().compress_vec(&plain).unwrap());
    assert_eq!(Compression::Snappy.decompress(&raw, LIMIT).unwrap(), plain);
}

#[test]
fn a_snappy_block_that_announces_too_much_is_refused_without_allocating() {
    let lie = Bytes::from_static(&[0xFF, 0xFF, 0xFF, 0x7F, 0]);
    assert!(Compression::Snappy.decompress(&lie, usize::MAX).is_err());
}

#[test]
fn names_and_ids_lead_back() {
    for codec in Compression::ALL {
        assert_eq!(Compression::from_id(codec.id()), Some(codec));
        assert_eq!(Compression::from_name(codec.name()), Some(codec));
    }
    assert_eq!(Compression::from_id(5), None);
}
