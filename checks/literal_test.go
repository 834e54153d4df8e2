package checks_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stanch-dev/stanch/checks"
)

// leaks are the forms in which people leave passwords and keys: % stands for the
// value, and what the text does to quotes is part of the form.
const leaks = `DB_PASSWORD=%
export DB_PASSWORD=%
export DB_PASSWORD="%"
export DB_PASSWORD='%'
set DB_PASSWORD=%
  password: %
  password: "%"
  password: '%'
  password: "%" # of the shop
- password: %
    - DB_PASSWORD=%
    - "DB_PASSWORD=%"
      DB_PASSWORD: %
"password": "%",
{"user": "shop", "password": "%"}
{"user":"shop","password":"%","host":"db1"}
body = "{\"password\": \"%\"}"
password = "%"
password="%"
password = '%'
db.password=%
spring.datasource.password=%
spring.datasource.password = %
spring.mail.password: %
quarkus.datasource.password=%
db_password = "%"
const dbPassword = "%"
const DBPassword string = "%"
var dbPassword = "%"
dbPassword := "%"
	Password: "%",
"password": "%",
cfg := Config{User: "shop", Password: "%"}
os.Setenv("DB_PASSWORD", "%")
t.Setenv("DB_PASSWORD", "%")
os.environ["DB_PASSWORD"] = "%"
os.environ['DB_PASSWORD'] = '%'
os.environ.setdefault("DB_PASSWORD", "%")
os.getenv("DB_PASSWORD", "%")
os.environ.get('DB_PASSWORD', '%')
connect(host="db1", user="shop", password="%")
conn = psycopg2.connect(user='shop', password='%', host='db1')
self.password = "%"
PASSWORD: str = "%"
password: Final[str] = "%"
'PASSWORD': '%',
DB_PASSWORD = config('DB_PASSWORD', default='%')
const password = '%';
let password = "%";
let password = ` + "`%`" + `;
const password: string = "%";
  password: '%',
  "password": "%"
process.env.DB_PASSWORD = '%';
process.env.DB_PASSWORD || '%'
process.env.DB_PASSWORD ?? "%"
private readonly password: string = '%';
this.password = '%';
private static final String PASSWORD = "%";
public static final String DB_PASSWORD = "%";
String password = "%";
config.setPassword("%");
ds.setPassword("%");
builder.password("%").build();
.withPassword("%")
@Value("${db.password:%}")
props.put("password", "%");
System.setProperty("db.password", "%");
properties.setProperty("password", "%");
private const string Password = "%";
public string Password { get; set; } = "%";
var password = "%";
string password = @"%";
Server=db1;Database=shop;User Id=shop;Password=%;
"Server=db1;Database=shop;User Id=shop;Password=%;Encrypt=true"
"DefaultConnection": "Server=db1;Uid=shop;Pwd=%;"
val password = "%"
val password: String = "%"
private val dbPassword = "%"
$password = "%";
$password = '%';
define('DB_PASSWORD', '%');
define("DB_PASSWORD", "%");
'password' => '%',
"password" => "%",
$config['db']['password'] = '%';
'password' => env('DB_PASSWORD', '%'),
putenv('DB_PASSWORD=%');
password: "%",
:password => "%",
ENV['DB_PASSWORD'] = '%'
ENV.fetch('DB_PASSWORD', '%')
config.password = '%'
let password = "%";
let password: &str = "%";
const PASSWORD: &str = "%";
static PASSWORD: &'static str = "%";
password: "%".to_string(),
password: String::from("%"),
let password = "%".into();
let password: String = "%"
static let password = "%"
local password = "%"
my $password = '%';
our $password = "%";
#define DB_PASSWORD "%"
static const char *password = "%";
const char password[] = "%";
char* password = "%";
std::string password = "%";
const std::string kPassword = "%";
NSString *password = @"%";
<add key="DbPassword" value="%"/>
<add key="DbPassword" value="%" />
<property name="password" value="%"/>
<property name="hibernate.connection.password">%</property>
<password>%</password>
<db_password>%</db_password>
<user name="shop" password="%" roles="manager"/>
<param name="password" value="%" />
<entry key="password">%</entry>
<string name="db_password">%</string>
mysql --user=shop --password=% shop
mysql --user shop --password '%'
curl --data "user=shop&password=%" https://shop.internal/login
curl -d 'password=%&user=shop' https://shop.internal/login
https://shop.internal/login?user=shop&password=%
https://shop.internal/login?password=%&user=shop
docker run -e DB_PASSWORD=% shop
docker run -e "DB_PASSWORD=%" shop
docker run --env DB_PASSWORD=% shop
docker login --username shop --password % registry.internal
helm install shop --set db.password=%
kubectl create secret generic db --from-literal=password=%
PGPASSWORD=% psql -h db1 shop
PGPASSWORD="%" psql -h db1 shop
MYSQL_PWD=% mysql shop
ENV DB_PASSWORD %
ENV DB_PASSWORD=%
ENV DB_PASSWORD="%"
ARG DB_PASSWORD=%
RUN echo 'DB_PASSWORD=%' >> .env
CREATE USER shop WITH PASSWORD '%';
ALTER USER shop WITH ENCRYPTED PASSWORD '%';
ALTER ROLE shop PASSWORD '%';
machine ftp.internal login shop password %
[db] user = shop\npassword = %
2031-02-03 INFO connect user=shop password=% host=db1
2031-02-03 INFO login failed: password=%
2031-02-03 DEBUG {"password":"%","user":"shop"}
the password is %
password: %
Password: %
# password: %
// password = "%"
# DB_PASSWORD=%
$env:DB_PASSWORD = "%"
$Password = "%"
setx DB_PASSWORD "%"
$password = ConvertTo-SecureString "%" -AsPlainText -Force
set -x DB_PASSWORD %
setenv DB_PASSWORD %
DB_PASSWORD ?= %
DB_PASSWORD := %
DB_PASSWORD="${DB_PASSWORD:-%}"
: "${DB_PASSWORD:=%}"
- name: DB_PASSWORD\n  value: "%"
- name: DB_PASSWORD\n  value: %
{ "name": "DB_PASSWORD", "value": "%" }
{"Key": "DB_PASSWORD", "Value": "%"}
variable "db_password" {\n  default = "%"\n}
variable "db_password" {\n  type = string\n  default = "%"\n}
export TF_VAR_db_password="%"
DB_PASS=%
DB_PASS="%"
"pass": "%",
pass: '%',
auth: { user: 'shop', pass: '%' },
SMTP_PASS=%
smtp_pass = "%"
$db_pass = "%";
db_pwd = "%"
DB_PWD=%
pwd: '%'
passphrase: "%"
KEY_PASSPHRASE=%
keystorePassword="%"
storePassword=%
keyPassword=%
ssl.keystore.password=%
server.ssl.key-store-password: %
admin_password: %
ADMIN_PASSWORD: "%"
root_password = "%"
MYSQL_ROOT_PASSWORD: %
POSTGRES_PASSWORD: "%"
redis_password: '%'
ansible_password=%
ansible_ssh_pass: %
ansible_become_pass: "%"
password123: "%"
passwd = "%"
PASSWD=%
userPassword: "%"
new_password="%"
params = {password: "%"}
map.put("password", "%")
password.set("%")
"db": {"password": "%"}
'password': b'%',
"password":"%"}
data-password="%"
password=%&remember=1`

// TestLeaks wants values of many alphabets found in every form, exactly as far as
// they go.
func TestLeaks(t *testing.T) {
	s := scanner(t)
	missed, all := make(map[string]int), 0
	for _, template := range []string{"{12:base62}", "{5:lower}{3:digit}{4:upper}{5:lower}", "{32:hex}", "{24:base62}", "{4:upper}{6:lower}@{4:digit}!", "{3:base62}-{8:base62}_{9:base62}", "My{5:lower}Secret{4:digit}!"} {
		for i, form := range strings.Split(leaks, "\n") {
			for seed := range byte(3) {
				value := token(t, template, 40*seed+byte(i))
				text := strings.ReplaceAll(strings.Replace(form, "%", value, 1), `\n`, "\n")
				all++
				if !exactly(s, text+"\n", value) {
					missed[form]++
				}
			}
		}
	}
	lost := 0
	var forms strings.Builder
	for form, n := range missed {
		lost += n
		fmt.Fprintf(&forms, "%3d %s\n", n, form)
	}
	if float64(lost) > 0.05*float64(all) {
		t.Errorf("%d of %d leaks are missed or not told exactly:\n%s", lost, all, forms.String())
	}
}

// exactly reports whether value and nothing else is found in text.
func exactly(s *checks.Scanner, text, value string) bool {
	found := scan(s, "file", []byte(text))
	return len(found) == 1 && found[0].Credential.Secret().Expose() == value
}
