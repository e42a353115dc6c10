use super::copy::CopyRows;
use super::*;
use crate::testing::range;

#[test]
fn a_multirange_is_read_as_postgresql_writes_it() {
    let ranges = |text| multirange(text).map(|set| set.ranges().to_vec());
    assert_eq!(ranges("{}"), Some(vec![]));
    assert_eq!(ranges("{[0,5)}"), Some(vec![range(0, 4)]));
    assert_eq!(
        ranges("{[0,5),[9,10),[4611686018427387000,4611686018427387001)}"),
        Some(vec![
            range(0, 4),
            range(9, 9),
            range(4_611_686_018_427_387_000, 4_611_686_018_427_387_000)
        ])
    );
    for bad in ["", "{", "[0,5)", "{[0,0)}", "{[-1,5)}", "{[0,x)}", "{(,5)}"] {
        assert_eq!(ranges(bad), None, "{bad}");
    }
}

#[test]
fn a_month_of_receipt_is_that_of_utc() {
    assert_eq!(month(0), 197_001);
    assert_eq!(month(1_764_547_199_999), 202_511);
    assert_eq!(month(1_764_547_200_000), 202_512);
    assert_eq!(month(1_767_225_600_000), 202_601);
    assert_eq!(month(i64::MAX), 197_001);
}

#[test]
fn text_without_a_column_for_character_0_keeps_everything_else() {
    assert_eq!(text("truck"), "truck");
    assert_eq!(text("a\0b"), "a\u{fffd}b");
}

#[test]
fn copied_rows_are_the_documented_bytes() {
    let mut rows = CopyRows::new();
    assert!(rows.is_empty());
    rows.row(5);
    rows.int2(-2);
    rows.int4(Some(1));
    rows.int8(None);
    rows.float8(Some(0.5));
    rows.bytea(Some(b"xy"));
    assert_eq!(rows.rows(), 1);
    let bytes = rows.finish();
    let (head, body) = bytes.split_at(19);
    assert_eq!(head, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    assert_eq!(
        body,
        [
            &[0, 5][..],
            &[0, 0, 0, 2, 0xff, 0xfe],
            &[0, 0, 0, 4, 0, 0, 0, 1],
            &[0xff; 4],
            &[0, 0, 0, 8, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0],
            &[0, 0, 0, 2, b'x', b'y'],
            &[0xff, 0xff],
        ]
        .concat()
    );
}
