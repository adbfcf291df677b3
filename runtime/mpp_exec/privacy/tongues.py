"""The labels of personal data in languages other than English: what forms, tables and keys say.

Those that have only letters of ASCII once their marks are gone stand here as tables of labels have them, with
their words joined: ``fechanacimiento``. Others stand as people write them, and are taken in when somebody
asks for one: text that is ASCII never does. Where two languages have one word for two things, it stands here
for what both mean, or not at all.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from mpp_exec.privacy.words import words_of

_LATIN: Final = {
    "phone": """
        telefonnr telefonnumer rufnummer handynr mobilnummer mobiltelefon mobilfunknummer mobil handy
        festnetz festnetznummer faxnummer telefax telephone numerodetelephone portable telephoneportable
        telephonemobile tel telmobile telefono numerodetelefono movil telefonomovil celular
        numerodecelular cellulare numeroditelefono numerodicellulare telefone numerodetelefone telemovel
        telefonecelular fone telefoon telefoonnummer mobieletelefoon gsm gsmnummer numertelefonu
        telefonkomorkowy komorka telefonnicislo telefonnecislo mobilnitelefon mobilnicislo telefonnummer
        mobilnr telefonszam mobilszam numardetelefon telefonmobil puhelin puhelinnumero matkapuhelin
        matkapuhelinnumero telefonnumarasi ceptelefonu brojtelefona mobitel telepon nomortelepon nomorhp
        nohp notelepon dienthoai sodienthoai sodidong
        telnr teln nrtelefonu nrtel telkom telkomorkowy numerokomorkowy ntelefono nodetelefono
        ndetelephone notelephone ndetelefono notelefono numtel mobielnummer mobielnr mobiel mobilenr
        telmovil telcelular telmobil telpriv teldomicile telprofessionnel telpersonnel handytelefon
        rufnr nrtelefon tlf tlfnr tlfn puh puhnro cepno ceptel telno hp nohandphone sdt
        """,
    "date_of_birth": """
        geburtstag gebdatum geb geborenam nele neele datenaissance naissance nacimiento fechanacimiento
        fechanac natoil natail datadinascita datanascita datadenascimento datanascimento nascimento
        dtnascimento geboortedatum geborenop dataurodzenia urodzony urodzona datumnarozeni narozen
        narozena datumnarodenia fodelsedatum fodd fodselsdato fodselsdag fodt syntymaaika syntymapaiva
        dogumtarihi dogumgunu szuletesidatum szuletesiido datanasterii datumrodenja datumrojstva
        gimimodata dzimsanasdatums sunniaeg tanggallahir tgllahir ngaysinh ngaythangnamsinh
        fnacimiento fechadenac fecnac fecnacimiento neeele natoail natoa nato dataur dataurodz
        geborendatum gebdat geboren gebam szuldatum szulido szuletett syntynyt syntaika dogum dogumtarih
        fdato fodelsetid datanasc dtnasc nasc datanaschere nascutla rojen nguoisinh tgllhr
        """,
    "person": """
        vorundnachname nameundvorname namevorname nachnamevorname vornamenachname nachname prenom
        prenometnom nometprenom nomdefamille nometprenoms nomprenom prenomnom nombreyapellidos
        nombreyapellido apellidosynombre nombredepila nombredelcliente nombredelpaciente nomeecognome
        cognomeenome nomecognome nomecompleto nomeproprio apelido nomedocliente nomedopaciente
        nomedotitular voorenachternaam naamklant imieinazwisko imie nazwisko nazwiskoiimie jmenoaprijmeni
        prijmeni menoapriezvisko priezvisko krestnijmeno fornamn forochefternamn fullstandigtnamn
        efternamn fulltnavn fuldenavn forogetternavn kokonimi taydellinennimi adsoyad adisoyadi soyad
        soyadi teljesnev keresztnev vezeteknev csaladnev utonev numesiprenume numecomplet numedefamilie
        imeiprezime prezime imeinpriimek priimek vardas pavarde vards uzvards eesnimi perekonnanimi
        taisnimi namalengkap namadepan namabelakang hoten hovaten
        nominativo nomcliente kundenname kunde kundin nomdelcliente contactpersoon kontaktperson
        kontaktname osobakontaktowa pelnanazwa imieinazwiskoklienta nazwiskoiimieklienta interlocuteur
        nomdelassure assure empfanger bestellername patientname
        """,
    "name?": """
        cn sn nm ad adi isim nev nume jmeno meno ime nama ten
        """,
    "address": """
        strtnm homepostaladdress
        strasse strasseundhausnummer strassenr wohnadresse kundenadresse adressepostale adresse
        adressecomplete adressedudomicile adressedelivraison adressedefacturation voie direccion
        direcciondeenvio direccionpostal domicilio calleynumero indirizzo indirizzodiresidenza
        indirizzodicasa endereco enderecocompleto enderecoresidencial enderecodeentrega morada adres
        woonadres straatenhuisnummer adreszamieszkania adreskorespondencyjny ulicainumer adresa
        adresabydliste bydliste trvalebydliste adress hemadress gatuadress postadress hjemmeadresse
        gateadresse osoite kotiosoite katuosoite postiosoite evadresi acikadres cim lakcim lakhely
        domiciliu stradasinumarul adresastanovanja prebivaliste naslov adresas adrese aadress alamat
        alamatrumah diachi
        anschriftdeskunden hausanschrift rechnungsanschrift direcciondelcliente adressedomicile
        diachinha adresadedomiciliu adresatrvalehopobytu trvalypobyt evadres alamatlengkap hjemadresse
        bopael bopel
        """,
    "town?": """
        twnnm ort wohnort stadt ville ciudad citta cidade woonplaats plaats miasto miejscowosc mesto obec
        postort poststed kaupunki postitoimipaikka ilce sehir varos telepules oras localitate grad kota
        thanhpho
        """,
    "postcode?": """
        pstcd plz postleitzahl codepostal codigopostal codicepostale cap cep postcode kodpocztowy psc
        postnummer postinumero postakodu iranyitoszam codpostal postanskibroj kodepos mabuudien
        """,
    "passport": """
        reisepass reisepassnr passnummer passnr passeport numerodepasseport ndepasseport pasaporte
        numerodepasaporte passaporto numerodipassaporto passaporte numerodopassaporte paspoort
        paspoortnummer paszport numerpaszportu cestovnipas cislopasu cislocestovnihopasu passinumero
        pasaport pasaportno pasaportnumarasi utlevelszam numarpasaport brojputovnice paspor nomorpaspor
        hochieu sohochieu
        """,
    "drivers_license": """
        fuhrerschein fuhrerscheinnummer fuhrerscheinnr permisdeconduire numerodepermis
        numerodepermisdeconduire permisodeconducir licenciadeconducir carnetdeconducir patente
        patentediguida numeropatente carteirademotorista cnh cartadeconducao rijbewijs rijbewijsnummer
        prawojazdy numerprawajazdy ridicskyprukaz cisloridicskehoprukazu korkort korkortsnummer forerkort
        forerkortnummer korekort ajokortti ajokortinnumero surucubelgesi ehliyetno jogositvany
        permisdeconducere vozackadozvola giaypheplaixe
        """,
    "bank_account": """
        kontonummer kontonr ktonr numerodecompte ndecompte rib numerodecuenta nodecuenta cuentabancaria
        numerodiconto numeroconto contocorrente numerodaconta contacorrente contabancaria rekeningnummer
        bankrekening numerkonta numerrachunku nrrachunku cislouctu bankovniucet bankkonto tilinumero
        hesapnumarasi hesapno szamlaszam bankszamlaszam numardecont brojracuna nomorrekening norekening
        sotaikhoan
        accountno nodecompte numcompte ncuenta
        """,
    "national_id": """
        personalausweisnummer ausweisnummer ausweisnr sozialversicherungsnummer svnummer
        rentenversicherungsnummer ahvnummer ahvnr ahv numerodesecuritesociale ndesecuritesociale
        securitesociale nss nir nia numeroavs cartedidentite numerodecartedidentite dninie nie
        numerodedocumento documentodeidentidad cedula ceduladeidentidad numerodecedula
        numerodelaseguridadsocial nuss cartadidentita documentodidentita cartaodecidadao numerodocc niss
        sofinummer numerpesel dowodosobisty numerdowodu rodnecislo rc cisloop personnr personnummer
        samordningsnummer cpr cprnummer cprnr fodselsnummer fnr dnummer henkilotunnus sotu tckimlikno
        tckimlik tcno kimliknumarasi tckimliknumarasi szemelyiszam szemelyiigazolvanyszam tajszam taj
        codnumericpersonal oib jmbg emso asmenskodas personaskods isikukood nik nomorktp noktp cccd cmnd
        socmnd socccd ppsnumber ppsn ppsno sin rrn nino ninumber voterid epicnumber teudatzehut egn curp
        cnic icnumber mykad nationalinsurance
        """,
    "tax_id": """
        steuerid steueridentifikationsnummer steueridnr idnr steuernr stnr numerofiscal nif
        numerodecontribuinte contribuinte rfc ruc rut cuitcuil codicefiscale partitaiva cpfcnpj numernip
        nip dic skattenummer verginumarasi vergino vergikimlikno adoazonosito adoazonositojel adoszam cif
        npwp masothue afm ein pan panno tin tfn abn
        steuernummerdes
        """,
    "health_id": """
        versicherungsnummer versichertennr krankenversicherungsnummer krankenkassennummer patientennummer
        patientenid numerodepatient numerodassure numerodepaciente numerodeafiliado historiaclinica
        tesserasanitaria codicesanitario cartaonacionaldesaude cns patientnummer zorgnummer numerpacjenta
        cislopojistence potilasnumero patientid patientno patientnumber patientidentifier
        insurancememberid insuranceid insurancenumber insurancepolicynumber healthinsuranceno healthcard
        healthcardnumber healthid healthnumber phn ohip chartnumber medicalrecordno medicalrecord
        hospitalnumber medicalid medicaidid
        medrecno patientnr patientennr kvnr
        """,
    "username": """
        benutzername nutzername anmeldename nomdutilisateur nomutilisateur pseudo usuario nombredeusuario
        nomeutente nomedeusuario utilizador gebruikersnaam nazwauzytkownika uzivatelskejmeno anvandarnamn
        brukernavn brugernavn kayttajatunnus kayttajanimi kullaniciadi felhasznalonev numeutilizator
        korisnickoime namapengguna tendangnhap
        """,
}
_OTHER_SCRIPTS: Final = {
    "phone": """
        Телефон | Номер телефона | Контактный телефон | Мобильный телефон | Моб телефон | Мобильный
        | Номер телефону | Мобільний телефон | Мобілен телефон | Мобилен телефон | Телефонен номер
        | Τηλέφωνο | Αριθμός τηλεφώνου | Κινητό | Κινητό τηλέφωνο | 電話 | 電話番号 | 携帯電話
        | 携帯番号 | 携帯電話番号 | 連絡先 | 连络电话 | 电话 | 电话号码 | 手机 | 手机号 | 手机号码
        | 联系电话 | 移动电话 | 電話號碼 | 手機 | 手機號碼 | 聯絡電話 | 전화 | 전화번호 | 휴대폰
        | 휴대전화 | 휴대폰번호 | 휴대전화번호 | 연락처 | טלפון | מספר טלפון | נייד | טלפון נייד
        | الهاتف | هاتف | رقم الهاتف | الجوال | رقم الجوال | تلفن | شماره تلفن | موبایل | फ़ोन
        | फ़ोन नंबर | मोबाइल | मोबाइल नंबर | दूरभाष | โทรศัพท์ | เบอร์โทร | เบอร์โทรศัพท์
        | หมายเลขโทรศัพท์ | มือถือ | เบอร์มือถือ | Моб. тел. | Тел. | Тел | Контактный номер | Сотовый
        | Сотовый телефон | Τηλ. | Τηλ | 手机电话 | 휴대폰 번호
        """,
    "date_of_birth": """
        Дата рождения | Дата рожд | День рождения | Родился | Родилась | Дата народження
        | Дата на
        раждане | Датум рођења | Ημερομηνία γέννησης | Ημ/νία γέννησης | 生年月日
        | 誕生日 | 出生日期 | 出生年月 | 生日 | 생년월일 | 생일 | תאריך לידה | تاريخ الميلاد
        | تاریخ تولد | जन्म तिथि | जन्म की तारीख | วันเกิด | วันเดือนปีเกิด | Ημ. γέννησης | Дата рожд
        | Д.р. | Дата нар. | 생일날짜 | 出生 | 誕生年月日 | วันที่เกิด
        """,
    "person": """
        ФИО | Полное имя | Фамилия | Фамилия и имя | Имя и фамилия | Имя Отчество | Отчество | ПІБ
        | Прізвище | Прізвище та ім'я | По батькові | Име и фамилия | Фамилно име | Собствено име
        | Трите
        имена | Име и презиме | Презиме | Ονοματεπώνυμο | Επώνυμο | Πλήρες όνομα | 氏名
        | お名前 | フルネーム | 姓名 | 患者氏名 | 顧客名 | 客户姓名 | 联系人 | 收货人 | 收件人
        | 真实姓名 | 聯絡人 | 收件者 | 성명 | 고객명 | 환자명 | 수령인 | שם מלא | שם
        פרטי
        | שם משפחה | الاسم الكامل | الاسم الأول | اسم العائلة | اللقب | نام و نام خانوادگی
        | نام
        خانوادگی | पूरा नाम | पहला नाम | उपनाम | ग्राहक का नाम | रोगी का नाम
        | ชื่อ-นามสกุล | นามสกุล | ชื่อเต็ม | Όνομα και επώνυμο | Клиент | Контактное лицо | Получатель
        | Пациент | Контактна особа | Клієнт | 担当者 | 宛名 | 患者姓名
        """,
    "name?": """
        Имя | Ім'я | Име | Όνομα | 名前 | 名字 | 이름 | שם | الاسم | اسم | نام | नाम | ชื่อ
        """,
    "address": """
        Адрес | Домашний адрес | Адрес проживания | Адрес доставки | Адрес регистрации
        | Место жительства | Почтовый адрес | Адреса | Домашня адреса | Адреса проживання
        | Адреса доставки | Улица | Вулиця | Διεύθυνση | Διεύθυνση κατοικίας | Οδός | 住所 | 現住所
        | 自宅住所 | 送付先住所 | 地址 | 住址 | 家庭住址 | 家庭地址 | 收货地址 | 通讯地址 | 联系地址
        | 详细地址 | 收件地址 | 주소 | 집주소 | 배송지 | 배송주소 | 도로명주소 | כתובת | כתובת מגורים
        | رחוב | العنوان | عنوان السكن | عنوان | آدرس | نشانی | पता | घर का पता | डाक पता | ที่อยู่
        | ที่อยู่จัดส่ง | ที่อยู่ปัจจุบัน | Адреса дома | Фактический адрес | Юридический адрес
        | Постійна адреса
        """,
    "town?": """
        Город | Населённый пункт | Місто | Град | Πόλη | 市区町村 | 城市 | 시군구 | עיר | المدينة | شهر
        | शहर | อำเภอ | จังหวัด
        """,
    "postcode?": """
        Почтовый индекс | Индекс | Поштовий індекс | Пощенски код | Ταχυδρομικός κώδικας | Τ.Κ.
        | 郵便番号 | 邮编 | 邮政编码 | 우편번호 | מיקוד | الرمز البريدي | پیک کد | पिन कोड
        | รหัสไปรษณีย์
        """,
    "passport": """
        Загранпаспорт | Номер паспорта | Серия и номер паспорта | Паспорт | Номер паспорту
        | Αριθμός
        διαβατηρίου | Διαβατήριο | パスポート番号 | 旅券番号 | 护照 | 护照号
        | 护照号码 | 護照號碼 | 여권번호 | דרכון | מספר דרכון | جواز السفر | رقم جواز السفر | पासपोर्ट
        | पासपोर्ट नंबर | หนังสือเดินทาง
        """,
    "drivers_license": """
        Водительское удостоверение | Посвідчення водія | Δίπλωμα οδήγησης | 運転免許証番号 | 免許証番号
        | 驾驶证号 | 驾照号码 | 운전면허번호 | רישיון נהיגה | رخصة القيادة | ड्राइविंग लाइसेंस
        | ใบขับขี่
        """,
    "bank_account": """
        Номер счёта | Расчётный счёт | Лицевой счёт | Номер рахунку | Αριθμός λογαριασμού | 口座番号
        | 银行账号 | 银行卡号 | 账号 | 銀行帳號 | 계좌번호 | מספר חשבון | חשבון בנק | رقم الحساب
        | खाता संख्या | बैंक खाता | เลขที่บัญชี | เลขบัญชี
        """,
    "national_id": """
        СНИЛС | Номер СНИЛС | Серия и номер | ЕГН | ЕМБГ | ЈМБГ | УНЗР | ΑΜΚΑ | Αριθμός ταυτότητας
        | マイナンバー | 個人番号 | 身份证 | 身份证号 | 身份证号码 | 身分證字號 | 身份證號碼 | 证件号码
        | 주민등록번호 | 주민번호 | תעודת זהות | מספר
        זהות | ת"ז | رقم الهوية | الرقم القومي
        | رقم الإقامة | کد ملی | आधार | आधार नंबर | आधार संख्या | เลขบัตรประชาชน | เลขประจำตัวประชาชน
        """,
    "tax_id": """
        ИНН | РНОКПП | ІПН | ИНН/КПП | ΑΦΜ | 税番号 | 纳税人识别号 | 统一社会信用代码 | पैन | पैन नंबर
        """,
    "health_id": """
        Номер полиса | Полис ОМС | 保険証番号 | 被保険者番号 | 患者番号 | 病历号 | 医保卡号 | 환자번호
        | 건강보험번호
        """,
    "username": """
        Логин | Имя пользователя | Ім'я користувача | Όνομα χρήστη | ユーザー名 | ユーザーID | 用户名
        | 帐号 | 사용자명 | 아이디 | שם משתמש | اسم المستخدم | उपयोगकर्ता नाम | ชื่อผู้ใช้
        """,
}

LATIN: Final = {label: kind for kind, labels in _LATIN.items() for label in labels.split()}
"""What each label announces, by its words joined."""


@cache
def other_scripts() -> dict[str, str]:
    """Return what each label announces that is not all ASCII, by its words joined, without marks."""
    return {
        "".join(words_of(label)): kind
        for kind, labels in _OTHER_SCRIPTS.items()
        for label in labels.split("|")
    }


@cache
def endings() -> tuple[tuple[str, str], ...]:
    """Return those of :func:`other_scripts` in which a longer word may end, the longest first.

    Scripts without spaces join what others write apart: ``\u5ba2\u6237\u59d3\u540d``, a customer's name.
    """
    labels = ((label, kind) for label, kind in other_scripts().items() if not kind.endswith("?"))
    return tuple(sorted(labels, key=lambda each: len(each[0]), reverse=True))
