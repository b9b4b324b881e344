use super::*;

fn show(text: &str) -> String {
    match parse(text) {
        Ok(pairs) => serde_json::Value::Object(
            pairs
                .into_iter()
                .map(|(key, value)| {
                    let value = match value {
                        Value::Text(text) => text.into(),
                        Value::List(list) => list.into(),
                    };
                    (key, value)
                })
                .collect(),
        )
        .to_string(),
        Err(_) => "error".to_owned(),
    }
}

/// What the AWS CLI's own parser answers to the same texts.
#[test]
fn texts_mean_what_they_mean_to_the_aws_cli() {
    for (text, expected) in CASES {
        assert_eq!(show(text), *expected, "{text:?}");
    }
}

const CASES: &[(&str, &str)] = &[
    ("a=b", "{\"a\":\"b\"}"),
    ("a=b,c=d", "{\"a\":\"b\",\"c\":\"d\"}"),
    ("a=b,c", "{\"a\":[\"b\",\"c\"]}"),
    ("a=b,c,d=e", "{\"a\":[\"b\",\"c\"],\"d\":\"e\"}"),
    (
        "portNumber=22,localPortNumber=9000",
        "{\"portNumber\":\"22\",\"localPortNumber\":\"9000\"}",
    ),
    (
        "host=db.example.com,portNumber=3306",
        "{\"host\":\"db.example.com\",\"portNumber\":\"3306\"}",
    ),
    ("command=ls -la", "{\"command\":\"ls -la\"}"),
    (
        "command=echo hi there , other=x",
        "{\"command\":\"echo hi there\",\"other\":\"x\"}",
    ),
    ("command=\"ls -la, pwd\"", "{\"command\":\"ls -la, pwd\"}"),
    ("command='it\\'s'", "{\"command\":\"it's\"}"),
    (
        "command=\"say \\\"hi\\\"\"",
        "{\"command\":\"say \\\"hi\\\"\"}",
    ),
    ("command=\"a\\\\b\"", "{\"command\":\"a\\\\b\"}"),
    ("command=a\\,b", "{\"command\":\"a,b\"}"),
    ("command=a\\b", "{\"command\":\"a\\\\b\"}"),
    ("command=echo \"hi\"", "error"),
    ("a=", "{\"a\":\"\"}"),
    ("a=,b=c", "{\"a\":\"\",\"b\":\"c\"}"),
    ("a=b,", "error"),
    ("a=b,c,", "error"),
    ("=b", "{\"\":\"b\"}"),
    ("a", "error"),
    ("", "error"),
    ("a==b", "error"),
    ("a=b=c", "{\"a\":\"b=c\"}"),
    ("a=b,c==d", "error"),
    ("a=b,c=d=e", "{\"a\":\"b\",\"c\":\"d=e\"}"),
    ("a=[b,c]", "{\"a\":[\"b\",\"c\"]}"),
    ("a=[b, c]", "{\"a\":[\"b\",\"c\"]}"),
    ("a=[]", "{\"a\":[]}"),
    ("a=[\"b,c\",d]", "{\"a\":[\"b,c\",\"d\"]}"),
    ("a=[\"b\",\"c\"],d=e", "{\"a\":[\"b\",\"c\"],\"d\":\"e\"}"),
    ("a=[b", "error"),
    ("a=[b,c],", "error"),
    ("a=[b=c]", "{\"a\":[\"b=c\"]}"),
    ("a={b=c}", "error"),
    ("a=[[b]]", "error"),
    ("a=b c=d", "{\"a\":\"b c=d\"}"),
    ("a=b,a=c", "error"),
    (" a=b", "error"),
    ("a =b", "{\"a\":\"b\"}"),
    ("a= b", "{\"a\":\"b\"}"),
    ("a = b , c = d", "{\"a\":\"b\",\"c\":\"d\"}"),
    ("a=b ,c", "{\"a\":[\"b\",\"c\"]}"),
    ("a=b\tc", "{\"a\":\"b\\tc\"}"),
    ("a=\"b\"c", "error"),
    ("a=\"b", "error"),
    ("a=\"b\" ,\"c\"", "{\"a\":[\"b\",\"c\"]}"),
    ("a=x,\"c=d\",e", "{\"a\":[\"x\",\"c=d\",\"e\"]}"),
    ("a=b,\"c\",d=e", "{\"a\":[\"b\",\"c\"],\"d\":\"e\"}"),
    ("a='\"'", "{\"a\":\"\\\"\"}"),
    ("a=\"'\"", "{\"a\":\"'\"}"),
    ("a=http://x/y?z=1", "{\"a\":\"http://x/y?z=1\"}"),
    ("a=x]", "error"),
    ("a=x}", "error"),
    ("a=b,c]", "{\"a\":[\"b\",\"c]\"]}"),
    ("a=b,c}", "{\"a\":[\"b\",\"c}\"]}"),
    ("a=b,[c]", "error"),
    ("a=ü,ß", "{\"a\":[\"ü\",\"ß\"]}"),
    ("a=é=ö", "{\"a\":\"é=ö\"}"),
    ("-_.#/:9=v", "{\"-_.#/:9\":\"v\"}"),
    ("a b=c", "error"),
    ("a=b;c", "{\"a\":\"b;c\"}"),
    (
        "command=for i in 1 2; do echo $i; done",
        "{\"command\":\"for i in 1 2; do echo $i; done\"}",
    ),
    (
        "command=echo $((1+2)) | wc",
        "{\"command\":\"echo $((1+2)) | wc\"}",
    ),
    ("a=<b>", "{\"a\":\"<b>\"}"),
    ("a=!b", "{\"a\":\"!b\"}"),
    ("a=@b", "{\"a\":\"@b\"}"),
    ("a@=b", "{\"a\":\"b\"}"),
    ("a=~b", "{\"a\":\"~b\"}"),
    ("a=^b", "{\"a\":\"^b\"}"),
    ("a=`b`", "{\"a\":\"`b`\"}"),
    ("a=x`y", "{\"a\":\"x`y\"}"),
    ("a=b\nc", "{\"a\":\"b\\nc\"}"),
    ("a=\\", "{\"a\":\"\\\\\"}"),
    ("a=\\\\", "{\"a\":\"\\\\\\\\\"}"),
    ("a=\\,", "{\"a\":\",\"}"),
    ("a=\\,,b", "{\"a\":[\",\",\"b\"]}"),
    ("a=[\\,b]", "{\"a\":[\",b\"]}"),
    ("a=\"x\\n\"", "{\"a\":\"x\\\\n\"}"),
    ("a=b,c\"d", "error"),
    ("a=b, ,c", "error"),
    ("a=,", "error"),
    ("a=b,,c", "error"),
    ("a=\"\",b", "{\"a\":[\"\",\"b\"]}"),
    ("a=[\"\",\"\"]", "{\"a\":[\"\",\"\"]}"),
    ("a=|b", "{\"a\":\"|b\"}"),
    ("a=b|c", "{\"a\":\"b|c\"}"),
    ("a=x_y", "{\"a\":\"x_y\"}"),
    ("a=x`y,z`w", "{\"a\":[\"x`y\",\"z`w\"]}"),
    ("a=\u{1}b", "error"),
    ("a=b\u{1}", "error"),
    (
        "a=[\"a\", \"b\"] , c = [d]",
        "{\"a\":[\"a\",\"b\"],\"c\":[\"d\"]}",
    ),
];

#[test]
fn errors_name_the_place() {
    assert_eq!(
        parse("a=b c\"d").expect_err("bad"),
        "expected ',' instead of '\"' at character 6"
    );
    assert_eq!(parse("a").expect_err("bad"), "expected '=' at the end");
}
