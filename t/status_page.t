# The page of vmess_status as it is served, and what its script asks for.  In a
# browser: interop/page.t.

use lib "t/lib";
use TestVMess;
use VMess::API;
use Digest::SHA qw(sha256_base64);

plan "no_plan";
no_shuffle();

our $locations = 'location /status/ { vmess_status main api=/api/ subscription=https://example.com/sub; gzip on; }'
    . ' location /plain { vmess_status main users=1; }'
    . ' location /api/ { vmess_api main write; }';

sub get { return call(GET => @_) }

sub call {
    my ($method, $path, %headers) = @_;
    my $body = delete $headers{body};
    return VMess::API->new(connect => sub { tcp(http_port()) }, base => '')->request($method, $path, $body, %headers);
}

sub page { return get(@_, Accept => 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8') }

# what stands between tags

sub between {
    my ($tag, $text) = @_;
    my @all = $text =~ m{<$tag>(.*?)</$tag>}sg;
    is(scalar @all, 1, "one $tag");
    return $all[0];
}

sub file {
    my ($name) = @_;
    open my $fh, '<', "src/http/page/$name" or die "$name: $!";
    local $/;
    return scalar <$fh>;
}

# the policy by its directives

sub policy { return map { /^(\S+) (.*)/ } split /; /, $_[0]{header}{'content-security-policy'} }

run_tests();

__DATA__

=== TEST 1: the page, its headers, and what they promise
--- config eval: $::locations
--- stream_config
vmess_users main:1m { alice %%ALICE%%; bob %%BOB%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $a = page('/status/');
is("$a->{status} $a->{header}{'content-type'}", '200 text/html; charset=utf-8', 'a browser gets the page');
is($a->{header}{'content-length'}, length $a->{text}, 'and all of it');

my $style = main::between(style => $a->{text});
my $script = main::between(script => $a->{text});
is($style, main::file('page.css'), 'its style');
is($script, main::file('page.js'), 'and its script are those of the sources');
is($a->{text} =~ s{(<style>).*?(</style>)}{$1\n$2}sr =~ s{(<script>).*?(</script>)}{$1\n$2}sr,
   main::file('page.html'), 'and so is the rest');

my %policy = main::policy($a);
is($policy{'script-src'}, "'sha256-" . sha256_base64($script) . "='", 'that script alone');
is($policy{'style-src'}, "'sha256-" . sha256_base64($style) . "='", 'and that style');
is($policy{$_->[0]}, $_->[1], "$_->[0] $_->[1]")
    for ['default-src', "'none'"], ['connect-src', "'self'"], ['frame-ancestors', "'none'"], ['base-uri', "'none'"],
        ['form-action', "'none'"], ['img-src', 'data:'], ['require-trusted-types-for', "'script'"];
unlike($a->{header}{'content-security-policy'}, qr/unsafe|http|\*/, 'nothing unsafe');
is($a->{header}{$_->[0]}, $_->[1], "$_->[0]: $_->[1]")
    for ['x-content-type-options', 'nosniff'], ['referrer-policy', 'no-referrer'], ['x-frame-options', 'DENY'],
        ['cache-control', 'no-cache'], ['vary', 'Accept'];

# whatever names there are, the page is the same, and asks nothing of others

unlike($a->{text}, qr/alice|bob/, 'no name is in it');
unlike($a->{text} =~ s{http://www\.w3\.org/2000/svg}{}r, qr{\b(?:https?:)?//\w+\.}, 'nor an address of others');
unlike($a->{text}, qr/\son\w+\s*=\s*"|\sstyle="|javascript:/, 'nor what the policy forbids');
unlike($script, qr/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|cssText/,
       'text never becomes markup or a script');

# languages are in the script: each text of the page has a translation

my ($zh) = $script =~ /^const zh = \{\n(.*?)^\};/ms;
my %zh = map { $_ => 1 } $zh =~ /"((?:[^"\\]|\\.)+)":/g;
my @texts = ($a->{text} =~ /\sdata-t>([^<]+)</g, $a->{text} =~ /aria-label="([^"]+)"\s+data-t-label/g,
             $script =~ /\bt\("((?:[^"\\]|\\.)+)"/g);
cmp_ok(scalar @texts, '>', 80, 'texts');
is(join('|', grep { !$zh{$_} } @texts), '', 'are all there in Chinese');

my $etag = $a->{header}{etag};
like($etag, qr/^"[0-9a-f]{32}"$/, 'an ETag');
my $b = page('/plain');
is($b->{text}, $a->{text}, 'another location has the same page');
is($b->{header}{etag}, $etag, 'and the same ETag');
$b = page('/status/', 'If-None-Match' => $etag);
is("$b->{status} $b->{text}", '304 ', 'the page is there already');
is($b->{header}{etag}, $etag, 'in that version');
is(page('/status/', 'If-None-Match' => '"x"')->{status}, 200, 'or another');

$b = call(HEAD => '/status/html');
is("$b->{status} $b->{text} $b->{header}{'content-length'}", '200  ' . length $a->{text}, 'HEAD');
is($b->{header}{'content-security-policy'}, $a->{header}{'content-security-policy'}, 'has the headers');
$b = page('/status/', 'Accept-Encoding' => 'gzip');
is($b->{header}{'content-encoding'}, 'gzip', 'gzip is that of nginx');
cmp_ok(length $b->{text}, '<', length($a->{text}) / 2, 'and helps');

is(get("/status/$_")->{text}, $a->{text}, "/status/$_") for 'html', '?format=html';
is(get('/status/', Accept => $_)->{header}{'content-type'}, 'application/json', "Accept: $_")
    for '*/*', 'application/json, text/html';
like(get('/status/?format=html', Accept => 'application/json')->{header}{'content-type'}, qr/html/, 'format= counts more');
is(call(POST => '/status/html')->{status}, 405, 'POST');
like(get('/status/x')->{text}, qr/there are html, json/, 'what there is');
is(get('/status/?format=htm')->{status}, 400, 'no such format');
--- stream_response: 1


=== TEST 2: what the script asks for
--- config eval: $::locations
--- stream_config
vmess_users main:1m { alice %%ALICE%%; bob %%BOB%%; }
--- stream_server_config
vmess main;
vmess_share example.com:10086;
proxy_pass vmess_target;
--- stream_client
my $j = get('/status/json')->{json};
is("$j->{api} $j->{subscription}", '/api/ https://example.com/sub', 'places that are configured');
$j = get('/plain/json')->{json};
is_deeply([@{$j}{qw(api subscription)}], [undef, undef], 'or not');

is(join(' ', map { scalar @{ $_->{top} }, $_->{omitted} } map { get($_)->{json} }
    qw(/status/json /status/json?users=0 /status/json?users=1 /plain/json?users=9)), '2 0 0 2 1 1 1 1', 'less users');
is(get("/status/json?users=$_")->{status}, 400, "users=$_") for '', 'x', '-1';
unlike(get('/status/prometheus?users=0')->{text}, qr/user="/, 'for metrics as well');

# codes of links; t/unit has them read

my $l = get('/api/users/alice/links')->{json}{links}[0];
ok(!exists $l->{qr}, 'no code unless it is asked for');
for my $form (qw(v2rayn uri shadowrocket)) {
    my $a = VMess::API->new(connect => sub { tcp(http_port()) }, base => '/api/');
    my $c = $a->call(GET => "users/alice/links?qr=$form")->{json}{links}[0];
    is(join("\n", $a->problems), '', 'as the description says');
    like($c->{qr}, qr{^<svg xmlns="[^"]+" viewBox="[^"]+".*</svg>\z}, "a picture of $form");
    is($c->{$form}, $l->{$form}, 'beside the link');

    open my $fh, '>', "$Dir/qr.svg" or die $!;
    print $fh $c->{qr};
    close $fh;
    system("rsvg-convert -z 4 -o $Dir/qr.png $Dir/qr.svg") == 0 or die 'rsvg-convert';
    is(`zbarimg -q --raw $Dir/qr.png`, "$l->{$form}\n", 'which is read');
}
is(get("/api/users/alice/links?qr=$_")->{json}{error}{code}, 'InvalidArgument', "qr=$_") for '', 'x', 'urix';
1;
--- stream_response: 1


=== TEST 3: what may be said of the page in the configuration
--- config eval: $::locations
--- stream_config
vmess_users main:1m { alice %%ALICE%%; }
--- stream_server_config
vmess main;
proxy_pass vmess_target;
--- stream_client
my $is = sub {
    my ($line, $said) = @_;
    my ($rc, $out) = nginx_t("vmess_users main:1m { alice $User{alice}; }\n"
                             . 'server { listen 127.0.0.1:1; vmess main; proxy_pass vmess_target; } resolver 127.0.0.1;',
                             main => "http { server { listen 127.0.0.1:2; location / { $line } } }");
    like($out, $said, $line);
};
$is->("vmess_status main $_;", qr/syntax is ok/)
    for 'api=/ users=3', 'subscription=/sub/ api=/a', 'subscription=http://example.com';
$is->("vmess_status main api=$_;", qr/api=.*in "vmess_status".*path of a location with "vmess_api"/)
    for 'api', 'https://example.com/api/', '//example.com/', '';
$is->("vmess_status main subscription=$_;", qr/subscription=.*in "vmess_status".*before the token/) for 'sub', 'ftp://x';
1;
--- stream_response: 1
