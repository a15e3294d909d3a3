//! Calls the fuzz target with changed bodies: some thousands of them, or as many as CASES or SECONDS say.

mod reference;

use kqnet_cases::{fuzz, words};

#[test]
fn changed_bodies_agree() {
    let seeds: [&[u8]; 4] = [
        b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\n",
        b"preamble\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.txt\"\r\nContent-Type: text/plain\r\n\r\n\
          \r\n--bb\r\n--\r\n--b \t\r\ncontent-disposition:form-data;name=a\r\n\r\n\r\n--b--",
        b"--b--\r\nepilogue",
        b"a=1&b=%20+c&%zz=&&=d",
    ];
    fuzz(&seeds, &words(include_str!("../fuzz/multipart.dict")), 3, reference::target);
}
