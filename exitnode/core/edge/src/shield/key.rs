//! What makes two requests the same: the tunnel's zone, host and target, and the fields that the app (Vary) or the tunnel
//! (`keyHeaders`) says tell answers apart. Pure. Built once for each request of a tunnel with a shield.
//!
//! Every part is written with its length, so no visitor can make one request's key look like another's.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

/// Where keys begin: a zone is everything that one purge forgets.
const ZONE_BYTES: usize = 8;

/// See the module. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(Bytes);

impl Key {
    /// Of everything at a target. `authority` as the visitor wrote it: apps make links of it.
    pub(super) fn of(zone: u64, epoch: u64, authority: &HeaderValue, uri: &Uri) -> Self {
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let mut key = BytesMut::with_capacity(ZONE_BYTES + 17 + authority.len() + target.len());
        key.put_u64(zone);
        key.put_u8(b'p');
        key.put_u64(epoch);
        put(&mut key, authority.as_bytes());
        put(&mut key, target.as_bytes());
        Self(key.freeze())
    }

    /// Of what these fields of a request select there. `number` is another one when the names are others.
    pub(super) fn variant(&self, number: u64, names: &[HeaderName], fields: &HeaderMap) -> Self {
        let mut key = BytesMut::with_capacity(self.0.len() + 8 + names.len() * 40);
        key.extend_from_slice(&self.0);
        key.put_u64(number);
        for name in names {
            put(&mut key, name.as_str().as_bytes());
            for value in fields.get_all(name) {
                put(&mut key, value.as_bytes());
            }
            key.put_u32(u32::MAX); // no value is so long
        }
        Self(key.freeze())
    }

    /// Of requests whose answers are shared only if the app says so expressly.
    pub(super) fn guarded(&self) -> Self {
        let mut key = BytesMut::from(&self.0[..]);
        key[ZONE_BYTES] = b'g';
        Self(key.freeze())
    }

    pub(super) fn is_of(&self, zone: u64) -> bool {
        self.0.starts_with(&zone.to_be_bytes())
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.len()
    }
}

fn put(key: &mut BytesMut, part: &[u8]) {
    key.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
    key.extend_from_slice(part);
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    fn key(zone: u64, epoch: u64, authority: &'static str, target: &'static str) -> Key {
        let authority = HeaderValue::from_static(authority);
        Key::of(zone, epoch, &authority, &Uri::from_static(target))
    }

    #[test]
    fn requests_that_differ_in_anything_have_keys_that_differ() {
        let all = [
            key(1, 0, "a.example", "/x?y"),
            key(2, 0, "a.example", "/x?y"),
            key(1, 1, "a.example", "/x?y"),
            key(1, 0, "a.example:8443", "/x?y"),
            key(1, 0, "a.example", "/x"),
            key(1, 0, "a.example", "/x?y").guarded(),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one), "{one:?}");
        }
        assert_eq!(
            key(1, 0, "a.example", "https://a.example/x"),
            key(1, 0, "a.example", "/x")
        );
        assert!(all[0].is_of(1) && !all[1].is_of(1) && all[5].is_of(1));
    }

    #[test]
    fn values_cannot_slide_from_field_to_field() {
        let names = [header::ACCEPT, header::ACCEPT_LANGUAGE];
        let primary = key(1, 0, "a.example", "/");
        let of = |fields: &[(HeaderName, &'static str)]| {
            let fields = fields
                .iter()
                .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
            primary.variant(7, &names, &fields.collect())
        };
        let all = [
            of(&[]),
            of(&[(header::ACCEPT, "")]),
            of(&[(header::ACCEPT, "a")]),
            of(&[(header::ACCEPT_LANGUAGE, "a")]),
            of(&[(header::ACCEPT, "a"), (header::ACCEPT_LANGUAGE, "a")]),
            of(&[(header::ACCEPT, "aa")]),
            primary.variant(8, &names, &HeaderMap::new()),
            primary.clone(),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one), "{one:?}");
        }
        assert_eq!(of(&[(header::COOKIE, "c"), (header::ACCEPT, "a")]), all[2]);
    }
}
