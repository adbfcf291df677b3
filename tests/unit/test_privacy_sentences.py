"""Values that a sentence tells in ten languages and some; and sentences that tell nothing of anybody.

The numbers are made up; those with a check digit are the examples that are published for them.
"""
# ruff: noqa: RUF001 -- the sentences are as people write them

from __future__ import annotations

import pytest

from mpp_exec.privacy.finding import Candidate
from mpp_exec.privacy.redact import redact
from mpp_exec.privacy.sentences import date, document, others

TOLD = """
Sie wurde am ⟦14. März 1985⟧ in Köln geboren.
Herr Weber, geboren am ⟦14.03.1985⟧, wohnt dort.
Mein Geburtsdatum ist der ⟦14.03.1985⟧.
Das Geburtsdatum lautet ⟦14. März 1985⟧.
Meine Telefonnummer ist ⟦030 12345678⟧.
Sie erreichen mich unter ⟦0171 2345678⟧.
Rufen Sie mich an: ⟦0171/2345678⟧
Handynummer ⟦0151 23456789⟧ bitte notieren
Meine Steuer-ID ist ⟦86 095 742 719⟧.
Steueridentifikationsnummer ⟦86095742719⟧
Die Reisepassnummer ist ⟦C01X00T47⟧.
Personalausweisnummer: ⟦L01X00T471⟧
Sozialversicherungsnummer ⟦65 140385 W 004⟧
Kontonummer ⟦0532013000⟧ bei der Sparkasse
Führerscheinnummer ⟦B072RRE2I55⟧
Das Passwort lautet ⟦hu7ter!Zebra⟧
Elle est née le ⟦14 mars 1985⟧ à Lyon.
Monsieur Petit, né le ⟦14/03/1985⟧, habite ici.
Ma date de naissance est le ⟦14/03/1985⟧.
Mon numéro de téléphone est le ⟦06 12 34 56 78⟧.
Vous pouvez me joindre au ⟦06 12 34 56 78⟧.
Appelez-moi au ⟦06.12.34.56.78⟧
Mon portable : ⟦0612345678⟧
Mon numéro de sécurité sociale est ⟦2 85 03 69 123 456 56⟧.
NIR ⟦285036912345656⟧
Mon numéro de passeport est ⟦12AB34567⟧.
carte d'identité n° ⟦880692310285⟧
numéro fiscal ⟦3012345678901⟧
numéro de compte ⟦00012345678⟧
permis de conduire n° ⟦880692310285⟧
le mot de passe est ⟦hu7ter!Zebra⟧
Nació el ⟦14 de marzo de 1985⟧ en Sevilla.
Mi fecha de nacimiento es el ⟦14/03/1985⟧.
nacida el ⟦14/03/1985⟧ en Madrid
Mi número de teléfono es ⟦612 345 678⟧.
Puede llamarme al ⟦612345678⟧.
mi móvil es el ⟦612 34 56 78⟧
Mi DNI es ⟦12345678Z⟧.
con DNI ⟦12345678-Z⟧ y domicilio
NIE: ⟦X1234567L⟧
Mi número de pasaporte es ⟦AAA123456⟧.
número de cuenta ⟦21000418450200051332⟧
carnet de conducir ⟦12345678Z⟧
la contraseña es ⟦hu7ter!Zebra⟧
È nata il ⟦14 marzo 1985⟧ a Torino.
nato a Roma il ⟦14/03/1985⟧
La mia data di nascita è ⟦14/03/1985⟧.
Il mio numero di telefono è ⟦333 123 4567⟧.
Mi chiami al ⟦333 1234567⟧.
cellulare ⟦3331234567⟧
Il mio codice fiscale è ⟦RSSMRA85T10A562S⟧.
passaporto n. ⟦YA1234567⟧
carta d'identità n. ⟦CA00000AA⟧
numero di conto ⟦000012345678⟧
patente ⟦U1J123456A⟧
Nasceu em ⟦14 de março de 1985⟧ no Porto.
A minha data de nascimento é ⟦14/03/1985⟧.
nascido em ⟦14/03/1985⟧ em Lisboa
O meu número de telefone é ⟦912 345 678⟧.
meu celular é ⟦(11) 98456-5666⟧
Ligue para ⟦912345678⟧
O meu NIF é ⟦123456789⟧.
meu CPF é ⟦529.982.247-25⟧
CPF ⟦52998224725⟧
RG nº ⟦12.345.678-9⟧
passaporte ⟦CA123456⟧
conta nº ⟦12345678-9⟧
CNH ⟦12345678900⟧
a senha é ⟦hu7ter!Zebra⟧
Zij is geboren op ⟦14 maart 1985⟧ in Utrecht.
Mijn geboortedatum is ⟦14-03-1985⟧.
Mijn telefoonnummer is ⟦06 12345678⟧.
U kunt mij bereiken op ⟦06-12345678⟧.
bel me op ⟦0612345678⟧
Mijn BSN is ⟦111222333⟧.
burgerservicenummer ⟦111222333⟧
paspoortnummer ⟦NP1234567⟧
rekeningnummer ⟦123456789⟧
rijbewijsnummer ⟦1234567890⟧
het wachtwoord is ⟦hu7ter!Zebra⟧
Urodziła się ⟦14 marca 1985⟧ w Krakowie.
urodzony ⟦14.03.1985⟧ r. w Łodzi
Moja data urodzenia to ⟦14.03.1985⟧.
Mój numer telefonu to ⟦512 345 678⟧.
Proszę dzwonić pod numer ⟦512345678⟧.
Mój PESEL to ⟦44051401359⟧.
NIP ⟦123-456-32-18⟧
numer paszportu ⟦AA1234567⟧
dowód osobisty nr ⟦ABA300000⟧
numer konta ⟦61109010140000071219812874⟧
prawo jazdy nr ⟦12345/12/1234⟧
hasło to ⟦hu7ter!Zebra⟧
Она родилась ⟦14 марта 1985⟧ года в Казани.
дата рождения ⟦14.03.1985⟧
⟦14.03.1985⟧ года рождения
Мой номер телефона ⟦8 (912) 345-67-89⟧.
Звоните мне по номеру ⟦8 912 345 67 89⟧.
мой телефон ⟦+7 912 345-67-89⟧
Мой ИНН ⟦500100732259⟧.
СНИЛС ⟦112-233-445 95⟧
паспорт серия ⟦4509 123456⟧
паспорт ⟦45 09 123456⟧
расчётный счёт ⟦40817810099910004312⟧
водительское удостоверение ⟦77 12 345678⟧
пароль ⟦hu7ter!Zebra⟧
⟦14 Mart 1985⟧ doğumlu
Doğum tarihim ⟦14.03.1985⟧.
⟦14 Mart 1985⟧ tarihinde İzmir'de doğdu
Telefon numaram ⟦0532 123 45 67⟧.
cep telefonu: ⟦05321234567⟧
T.C. kimlik numaram ⟦10000000146⟧.
TC Kimlik No: ⟦10000000146⟧
pasaport numarası ⟦U12345678⟧
vergi numarası ⟦1234567890⟧
hesap numarası ⟦1234567890⟧
şifre: ⟦hu7ter!Zebra⟧
⟦1985年3月14日⟧生まれです。
生年月日は⟦1985年3月14日⟧です。
生年月日：⟦1985/03/14⟧
電話番号は⟦090-1234-5678⟧です。
携帯⟦09012345678⟧まで
お電話は⟦03-1234-5678⟧へ
マイナンバーは⟦123456789018⟧です。
個人番号：⟦1234 5678 9018⟧
旅券番号は⟦TK1234567⟧です
パスポート番号：⟦TK1234567⟧
口座番号は⟦1234567⟧です
運転免許証番号：⟦123456789012⟧
パスワードは⟦hu7ter!Zebra⟧です
她出生于⟦1985年3月14日⟧。
出生日期：⟦1985-03-14⟧
我的生日是⟦1985年3月14日⟧
我的电话是⟦13812345678⟧。
手机号⟦138 1234 5678⟧
请拨打⟦13812345678⟧联系我
身份证号码是⟦11010519491231002X⟧。
身份证⟦11010519491231002X⟧
护照号码：⟦E12345678⟧
银行账号⟦6222021234567890128⟧
账号：⟦1234567890123⟧
驾驶证号：⟦110105194912310021⟧
密码是⟦hu7ter!Zebra⟧
⟦1985년 3월 14일⟧생입니다.
생년월일은 ⟦1985년 3월 14일⟧입니다.
생년월일: ⟦1985.03.14⟧
제 전화번호는 ⟦010-1234-5678⟧입니다.
휴대폰 ⟦010 1234 5678⟧
주민등록번호는 ⟦850314-2345674⟧입니다.
여권번호: ⟦M12345678⟧
계좌번호는 ⟦110-123-456789⟧입니다.
운전면허번호: ⟦11-12-345678-90⟧
비밀번호는 ⟦hu7ter!Zebra⟧입니다
"""
HARMLESS = """
Das Telefon wurde 2023 für 499 Euro gekauft.
Mein Handy ist ein Modell 12 Pro Max 256 GB.
Die Firma wurde am 14. März 1985 in Köln gegründet.
Konto 2023: Umsatz 1.234.567 Euro
Die Sitzung am 14.03.2024 wurde verschoben.
Das Passwort ist falsch.
Das Passwort muss mindestens 12 Zeichen haben.
Steuer 2024 beträgt 19 Prozent
Das ist die Nummer 4711 auf der Liste.
Der Reisepass ist 10 Jahre gültig.
Le téléphone est en panne depuis 2023.
Le rapport du 14 mars 2024 est disponible.
La nouvelle version est née en 2019.
Le mot de passe est obligatoire.
Le compte est bon : 1234567 visites.
Le numéro 12345678 de la revue
Nació en 2019 como un proyecto.
La ciudad cuenta con 1234567 habitantes.
La cuenta 2023-2024 fue cerrada.
El teléfono cuesta 299 euros.
La reunión es el 14 de marzo de 2024.
La contraseña es demasiado corta.
Il conto è di 1234567 euro.
La NATO 14/03/2024 riunione
Nata nel 2015, l'azienda cresce.
Il telefono costa 299 euro.
La riunione del 14 marzo 2024
A conta 1234567 foi paga.
O contrato nasceu em 2019.
A senha é inválida.
Bel 3 keer aan.
De vergadering is op 14 maart 2024.
Het bedrijf is geboren in 2010.
Numer 12345678 zamówienia
Spotkanie 14 marca 2024 roku.
Hasło jest nieprawidłowe.
Konta 2024: 123 456 789 zł
Телефон стоит 29999 рублей.
Встреча 14 марта 2024 года.
Пароль неверный.
Паспорт изделия 2023
Счёт 3:2 в пользу гостей
Toplantı 14 Mart 2024 tarihinde yapıldı.
Kimlik doğrulama 2 adımda
Şifre geçersiz.
会議は2024年3月14日です。
電話は2台あります。
パスワードは必須です。
会议在2024年3月14日举行。
电话会议2024年3月14日
手机售价2999元
密码不能为空
생일 파티는 2024년 3월 14일입니다.
학생 2024년 3월 14일 개강
전화 상담 2024년
비밀번호는 8자 이상이어야 합니다.
order rg 12345678 shipped
The handy 12345678 tool
mobil 1 5W-30 1234567
nip 20 tuck 1234567890
The Fiscal 2024 report, fiscal 202420252026
portable 12345678 device
patente 12345 USPTO 10123456
dni 2024 12 31
INN 500 rooms
numer numer 123456789
kom 1234567
"""
LINES = TOLD.strip().splitlines()


@pytest.mark.parametrize("line", LINES)
def test_a_value_that_a_sentence_tells_is_found_and_the_sentence_stays(line: str) -> None:
    before, _, rest = line.partition("⟦")
    value, _, behind = rest.partition("⟧")
    for text in (f"{before}{value}{behind}", f"– {before}{value}{behind}\nfin"):
        clean = redact(text).value
        assert value not in clean, clean
        assert sum(word in clean for word in before.split()) == len(before.split()), clean
        assert len([sign for sign in value if sign.isalnum() and sign in clean]) <= len(value)


@pytest.mark.parametrize("line", HARMLESS.strip().splitlines())
def test_a_sentence_that_tells_nothing_is_left_alone(line: str) -> None:
    assert redact(line).value == line


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("né le 14 mars 1985", "date_of_birth"),
        ("мой ИНН 500100732259", "tax_id"),
        ("我的电话是13812345678", "phone"),
        ("계좌번호는 110-123-456789입니다", "bank_account"),
        ("旅券番号はTK1234567です", "passport"),
        ("1985年3月14日生まれ", "date_of_birth"),
    ],
)
def test_what_a_word_with_other_letters_tells_is_of_its_kind(text: str, kind: str) -> None:
    assert {found.kind for found in others(text)} == {kind}


def test_dates_with_the_months_of_these_languages() -> None:
    for text in (
        "14. März 1985",
        "1er janvier 1990",
        "3 de agosto de 1971",
        "14 marca 1985",
        "1985년 3월 14일",
    ):
        assert date(text, 0) == len(text), text
    assert date("14 Bananen 1985", 0) == 0
    assert document("C01X00T47", 0) == 9
    assert document("gegründet1985", 0) == 0


def test_text_without_such_words_has_none() -> None:
    found: list[Candidate] = others("Die Straße führt zum Fluß. Улица ведёт в город. 这条街很长。İstanbul")
    assert found == []
