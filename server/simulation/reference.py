"""The reference conference (one day, eleven sites, 1,703 trainees) as plain data.

The numbers are those of a real day, 2023-06-03; people, questions and quizzes are made up.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from server.people.codes import draw_code
from server.simulation.names import draw_name

TITLE = "Tập huấn công tác cải cách hành chính năm 2023"
ORGANISER = "Sở Nội vụ tỉnh Hưng Yên"
PROVINCE = "Tỉnh Hưng Yên"
TIMEZONE = "Asia/Ho_Chi_Minh"
SLUG = "cchc-2023"


@dataclass(frozen=True, slots=True)
class Room:
    """A site with how many are expected there."""

    slug: str
    name: str
    kind: str
    expected: int


SITES = (
    Room("trung-tam", "Điểm cầu trung tâm", "main", 150),
    Room("van-lam", "Văn Lâm", "remote", 160),
    Room("my-hao", "Mỹ Hào", "remote", 155),
    Room("khoai-chau", "Khoái Châu", "remote", 155),
    Room("yen-my", "Yên Mỹ", "remote", 157),
    Room("van-giang", "Văn Giang", "remote", 152),
    Room("an-thi", "Ân Thi", "remote", 158),
    Room("phu-cu", "Phù Cừ", "remote", 149),
    Room("tien-lu", "Tiên Lữ", "remote", 154),
    Room("kim-dong", "Kim Động", "remote", 156),
    Room("hung-yen", "TP Hưng Yên", "remote", 157),
)

VACANT = "khoai-chau"
"""The site left for whoever tries the demo."""


@dataclass(frozen=True, slots=True)
class Talk:
    """An agenda item; minutes from the beginning of the day at 08:00."""

    title: str
    kind: str
    speaker: str
    from_min: int
    to_min: int


AGENDA = (
    Talk("Điểm danh, ổn định tổ chức", "other", "", 0, 30),
    Talk("Khai mạc, phát biểu chỉ đạo", "talk", "Lãnh đạo Sở Nội vụ", 30, 50),
    Talk(
        "Phân tích Chỉ số cải cách hành chính, PAR INDEX và SIPAS",
        "talk",
        "TS. Nguyễn Thị Minh Hạnh",
        50,
        130,
    ),
    Talk("Giải lao", "break", "", 130, 145),
    Talk(
        "Nâng cao hiệu quả quản trị và hành chính công, chỉ số PAPI",
        "talk",
        "ThS. Trần Quang Hiếu",
        145,
        210,
    ),
    Talk("Trao đổi kinh nghiệm của các địa phương", "talk", "Các điểm cầu", 210, 240),
    Talk("Hỏi đáp, giải đáp vướng mắc", "questions", "Báo cáo viên và tổ tham mưu", 240, 285),
    Talk("Tổng kết, bế mạc", "other", "Lãnh đạo Sở Nội vụ", 285, 300),
)
CURRENT = 2
"""The item under way when the demo begins."""

PEOPLE = (
    ("organiser", "ban-to-chuc", "Ban tổ chức"),
    ("moderator", "dieu-phoi", "Vũ Thị Hồng Vân"),
    ("speaker", "bao-cao-vien-1", "TS. Nguyễn Thị Minh Hạnh"),
    ("speaker", "bao-cao-vien-2", "ThS. Trần Quang Hiếu"),
    ("advisor", "to-tham-muu", "Tổ tham mưu"),
    ("observer", "giam-sat", "Thanh tra Sở Nội vụ"),
)
"""Role, sign-in name, name."""

POSTS = (
    "Công chức Văn phòng – thống kê",
    "Công chức Tư pháp – hộ tịch",
    "Công chức bộ phận Một cửa",
    "Chủ tịch UBND xã",
    "Phó Chủ tịch UBND xã",
    "Chuyên viên Phòng Nội vụ",
    "Công chức Địa chính – xây dựng",
    "Trưởng phòng Nội vụ",
)
COMMUNES = ("Tân Tiến", "Đông Kết", "Hồng Quang", "Minh Châu", "Việt Hưng", "Quang Vinh",
            "Thanh Long", "Đại Tập", "Bình Minh", "Phú Thịnh", "Nghĩa Hiệp", "Ngọc Lâm")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the roster."""

    code: str
    name: str
    site: str
    unit: str
    post: str
    group: str


def roster() -> list[Entry]:
    """1,703 people; the names are the same every time, the codes never are."""
    chance = random.Random(1703)
    rows = []
    for room in SITES:
        for _ in range(room.expected):
            post = chance.choice(POSTS)
            unit = _unit(room, chance)
            group = "Cấp tỉnh" if room.kind == "main" else "Cấp xã"
            rows.append(Entry(draw_code(), draw_name(chance), room.slug, unit, post, group))
    return rows


def _unit(room: Room, chance: random.Random) -> str:
    if room.kind == "main":
        return chance.choice(("Sở Nội vụ", "Sở Tư pháp", "Sở Tài chính", "Văn phòng UBND tỉnh"))
    if room.slug == "hung-yen":
        return f"Phường {chance.choice(('Hiến Nam', 'Lê Lợi', 'Minh Khai', 'Quang Trung'))}"
    return f"UBND xã {chance.choice(COMMUNES)}, {room.name}"


def district_of(unit: str) -> str | None:
    """The slug of the district that a commune's or ward's unit lies in; None for the province's."""
    if unit.startswith("Phường "):
        return "hung-yen"
    district = unit.rpartition(", ")[2]
    return next(
        (room.slug for room in SITES if f", {room.name}" in unit and room.name == district), None
    )


def agenda_times(day_start: datetime) -> list[tuple[Talk, datetime, datetime]]:
    """The agenda on a day that begins at ``day_start``."""
    return [
        (
            talk,
            day_start + timedelta(minutes=talk.from_min),
            day_start + timedelta(minutes=talk.to_min),
        )
        for talk in AGENDA
    ]


QUESTIONS = (
    "Hồ sơ nộp trực tuyến toàn trình nhưng thiếu chữ ký số của công dân thì bộ phận một cửa "
    "cấp xã tiếp nhận thế nào?",
    "Cách tính điểm trừ khi trả kết quả quá hạn trong Chỉ số cải cách hành chính?",
    "Phần mềm một cửa chưa đồng bộ dữ liệu với Cổng dịch vụ công quốc gia, khi nào khắc phục?",
    "Tỉ lệ công khai tiến độ 100% được tính trên tổng hồ sơ nào?",
    "Cán bộ nghỉ chế độ thì phân quyền tài khoản xử lý hồ sơ thế nào?",
    "Chỉ số PAPI cấp xã có được công bố không?",
    "Mẫu phiếu khảo sát mức độ hài lòng dùng cho cấp xã lấy ở đâu?",
    "Kết quả giải quyết còn hiệu lực phải số hóa trong thời hạn bao lâu?",
    "Người dân không có điện thoại thông minh thì hướng dẫn nộp hồ sơ trực tuyến ra sao?",
    "Thư xin lỗi khi quá hạn gửi bằng văn bản giấy hay gửi qua hệ thống?",
    "Hồ sơ liên thông đất đai quá hạn do cơ quan thuế thì tính trách nhiệm cho đơn vị nào?",
    "Xã sắp sáp nhập thì mã định danh cơ quan trên hệ thống xử lý thế nào?",
    "Có được từ chối tiếp nhận hồ sơ giấy khi thủ tục đã là toàn trình không?",
    "Kinh phí số hóa hồ sơ lưu trữ của cấp xã lấy từ nguồn nào?",
    "Thanh toán trực tuyến bị lỗi nhưng người dân đã bị trừ tiền thì xử lý thế nào?",
    "Tỉ lệ hồ sơ trực tuyến tính theo số nộp hay theo số được tiếp nhận?",
    "Làm sao tra cứu điểm thành phần của xã mình trong bộ chỉ số năm trước?",
    "Cán bộ một cửa có bắt buộc ký số cá nhân khi trả kết quả không?",
    "Thủ tục chứng thực bản sao điện tử có thu phí như bản giấy không?",
    "Khi hệ thống của bộ ngành ngừng hoạt động thì gia hạn hồ sơ bằng cách nào?",
    "Việc niêm yết thủ tục bằng mã QR có thay được bảng niêm yết giấy không?",
    "Tiêu chí nào của chỉ số hài lòng đang làm tỉnh mất nhiều điểm nhất?",
    "Hồ sơ hộ tịch lưu động được cập nhật lên phần mềm trong bao lâu?",
    "Có thể dùng chung một tài khoản dịch vụ công cho cả gia đình không?",
    "Quy trình nội bộ điện tử của cấp xã do ai phê duyệt?",
    "Phản ánh kiến nghị trùng lặp của công dân có phải trả lời từng lần không?",
    "Đánh giá cán bộ một cửa theo kết quả hồ sơ có được đưa vào xếp loại quý không?",
    "Dữ liệu dân cư sai thông tin thì xã chỉnh trước hay công an chỉnh trước?",
    "Người nước ngoài nộp hồ sơ trực tuyến bằng tài khoản nào?",
    "Sáng kiến cải cách hành chính cấp xã được cộng tối đa bao nhiêu điểm?",
    "Biên lai điện tử có cần in để lưu kèm hồ sơ không?",
    "Khi nào các xã được cấp chữ ký số chuyên dùng cho công chức mới?",
    "Hồ sơ nộp ngoài giờ hành chính tính thời hạn từ lúc nào?",
    "Tổ công nghệ số cộng đồng được chi những khoản gì?",
    "Cách khắc phục khi thành phần hồ sơ tái sử dụng không tải được?",
    "Xã chưa có đường truyền dự phòng thì hội nghị trực tuyến lần sau chuẩn bị ra sao?",
    "Thời hạn giải quyết ghi trên giấy hẹn khác trên hệ thống thì theo bản nào?",
    "Có mẫu kế hoạch cải cách hành chính năm cho cấp xã không?",
    "Đăng ký khai sinh, cư trú, bảo hiểm liên thông bị trả về nhiều lần thì làm thế nào?",
    "Cuối năm kiểm tra cải cách hành chính cấp xã gồm những nội dung nào?",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """A single-choice item; ``correct`` counts from 0."""

    text: str
    options: tuple[str, ...]
    correct: int
    seconds: int = 30


@dataclass(frozen=True, slots=True)
class Quiz:
    """A quiz of single-choice items."""

    title: str
    items: tuple[Choice, ...]


QUIZZES = (
    Quiz(
        "Kiểm tra nhanh: một cửa và một cửa liên thông",
        (
            Choice(
                "Hồ sơ quá hạn giải quyết thì cơ quan xử lý phải làm gì trước tiên?",
                (
                    "Trả lại hồ sơ cho công dân",
                    "Gửi văn bản xin lỗi và hẹn lại ngày trả",
                    "Chuyển hồ sơ lên cấp tỉnh",
                    "Yêu cầu bổ sung thành phần hồ sơ",
                ),
                1,
            ),
            Choice(
                "Chỉ số SIPAS đo lường điều gì?",
                (
                    "Mức độ chuyển đổi số của cơ quan",
                    "Mức độ hài lòng của người dân đối với sự phục vụ hành chính",
                    "Số thủ tục hành chính được cắt giảm",
                    "Thu nhập của công chức",
                ),
                1,
            ),
            Choice(
                "Dịch vụ công trực tuyến toàn trình nghĩa là gì?",
                (
                    "Nộp trực tuyến, nhận kết quả tại bộ phận một cửa",
                    "Mọi bước đều trên môi trường mạng, trả kết quả trực tuyến hoặc qua bưu chính",
                    "Chỉ tra cứu thông tin trên mạng",
                    "Nộp hồ sơ qua thư điện tử",
                ),
                1,
            ),
        ),
    ),
    Quiz(
        "PAPI và quản trị ở cơ sở",
        (
            Choice(
                "PAPI dựa chủ yếu vào nguồn dữ liệu nào?",
                (
                    "Báo cáo của cơ quan hành chính",
                    "Phỏng vấn trực tiếp người dân",
                    "Số liệu thuế",
                    "Khảo sát doanh nghiệp",
                ),
                1,
            ),
            Choice(
                "Chỉ số nào đánh giá cải cách hành chính do các cơ quan và người dân cùng chấm?",
                ("PCI", "PAR INDEX", "GRDP", "HDI"),
                1,
            ),
            Choice(
                "Công khai ở cấp xã nhằm trước hết mục đích gì?",
                (
                    "Tăng thu ngân sách",
                    "Người dân biết, bàn, kiểm tra và giám sát",
                    "Giảm số lượng công chức",
                    "Thay cho tiếp công dân",
                ),
                1,
            ),
        ),
    ),
)
