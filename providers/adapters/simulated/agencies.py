"""Names of the simulated city 云港市: its departments and their information systems. The city does not exist.

Per department: code, name, the group it belongs to, then one text a system: name, 等保 level, pools that it
runs in (n internet x86_64, g government x86_64, x government aarch64), rhythm of its business (see
simulated_load.Load) and ``z`` where nobody uses it any more (a zombie system).
"""

from __future__ import annotations

from typing import NamedTuple


class Agency(NamedTuple):
    """One using unit with its systems, each "name level pools rhythm [z]"."""

    code: str
    name: str
    group: str
    systems: tuple[str, ...]


GROUPS = (("SZ", "市直部门"), ("QX", "各区"))

AGENCIES = (
    Agency(
        "SZ-ZFB",
        "市政府办公室",
        "SZ",
        (
            "政府门户网站集群 3 n citizen",
            "协同办公系统 3 gx office",
            "政务督查系统 2 g office",
            "公文交换系统 3 x office",
        ),
    ),
    Agency(
        "SZ-FGW",
        "市发展改革委",
        "SZ",
        ("投资项目在线审批监管平台 3 ng citizen", "公共信用信息平台 3 gx night", "价格监测系统 2 g office z"),
    ),
    Agency(
        "SZ-JYJ",
        "市教育局",
        "SZ",
        (
            "义务教育招生报名系统 3 ng enrolment",
            "学籍管理系统 3 g enrolment",
            "中考志愿填报系统 2 n enrolment",
            "智慧教育云平台 3 nx citizen",
            "教师培训管理系统 2 n office z",
        ),
    ),
    Agency(
        "SZ-KJJ",
        "市科技局",
        "SZ",
        (
            "科技计划项目管理系统 2 n office",
            "高新技术企业认定系统 2 n bursty",
            "大型仪器共享平台 2 n office z",
        ),
    ),
    Agency(
        "SZ-GXJ",
        "市工业和信息化局",
        "SZ",
        ("惠企政策兑现平台 3 ng citizen", "工业运行监测系统 2 g month_end", "无线电监测系统 2 g steady"),
    ),
    Agency(
        "SZ-GAJ",
        "市公安局",
        "SZ",
        (
            "居住证管理系统 3 ng citizen",
            "互联网报警求助平台 3 n bursty",
            "旅馆业治安管理系统 3 g steady",
            "出入境预约系统 3 n citizen",
            "视频结构化分析系统 3 x steady",
        ),
    ),
    Agency(
        "SZ-MZJ",
        "市民政局",
        "SZ",
        (
            "婚姻登记预约系统 2 n citizen",
            "低保救助管理系统 3 gx month_end",
            "养老服务信息平台 2 n office",
            "社会组织年检系统 2 n office z",
        ),
    ),
    Agency(
        "SZ-SFJ",
        "市司法局",
        "SZ",
        ("公共法律服务平台 2 n citizen", "社区矫正管理系统 3 g steady", "行政执法监督系统 2 gx office"),
    ),
    Agency(
        "SZ-CZJ",
        "市财政局",
        "SZ",
        (
            "预算管理一体化系统 3 gx month_end",
            "政府采购平台 3 ng office",
            "非税收入收缴系统 3 g month_end",
            "财政电子票据系统 3 ng citizen",
        ),
    ),
    Agency(
        "SZ-RSJ",
        "市人力资源社会保障局",
        "SZ",
        (
            "社会保险信息系统 3 gx month_end",
            "就业服务平台 3 n citizen",
            "劳动监察系统 2 g office",
            "人事考试报名系统 3 n bursty",
            "农民工工资监管系统 2 ng month_end",
        ),
    ),
    Agency(
        "SZ-ZGJ",
        "市规划和自然资源局",
        "SZ",
        (
            "不动产登记系统 3 ngx citizen",
            "国土空间规划一张图 3 gx office",
            "地理信息公共服务平台 2 n steady",
            "测绘成果管理系统 2 g office z",
        ),
    ),
    Agency(
        "SZ-STJ",
        "市生态环境局",
        "SZ",
        ("污染源在线监控系统 2 g steady", "空气质量预报系统 2 g night", "排污许可管理系统 2 n office"),
    ),
    Agency(
        "SZ-ZJJ",
        "市住房和城乡建设局",
        "SZ",
        (
            "工程建设项目审批系统 3 ng citizen",
            "房屋交易网签系统 3 ng citizen",
            "智慧工地监管平台 2 n steady",
            "物业维修资金系统 2 g month_end",
        ),
    ),
    Agency(
        "SZ-JTJ",
        "市交通运输局",
        "SZ",
        (
            "公共交通一卡通清算系统 3 g night",
            "网约车监管平台 3 n steady",
            "交通运行监测中心 3 gx steady",
            "驾培管理系统 2 n citizen",
        ),
    ),
    Agency(
        "SZ-SWJ",
        "市水务局",
        "SZ",
        ("三防指挥系统 3 gx bursty", "智慧水务平台 2 g steady", "河长制信息系统 2 n office"),
    ),
    Agency(
        "SZ-NYJ",
        "市农业农村局",
        "SZ",
        ("农产品质量追溯平台 2 n office", "农村集体资产监管系统 2 g month_end"),
    ),
    Agency(
        "SZ-SWU",
        "市商务局",
        "SZ",
        ("外贸综合服务平台 2 n office", "消费券发放平台 3 n bursty", "家政服务信用系统 2 n office z"),
    ),
    Agency(
        "SZ-WLJ",
        "市文化广电旅游局",
        "SZ",
        ("数字图书馆 2 n citizen", "文旅预约平台 2 n bursty", "文物普查系统 2 g office z"),
    ),
    Agency(
        "SZ-WJW",
        "市卫生健康委",
        "SZ",
        (
            "全民健康信息平台 3 gx steady",
            "预约挂号平台 3 n citizen",
            "电子健康卡系统 3 ng citizen",
            "传染病监测预警系统 3 gx night",
            "免疫规划系统 2 g office",
        ),
    ),
    Agency(
        "SZ-YJJ",
        "市应急管理局",
        "SZ",
        ("应急指挥平台 3 gx bursty", "危险化学品监管系统 2 g steady", "安全生产执法系统 2 g office"),
    ),
    Agency("SZ-SJJ", "市审计局", "SZ", ("大数据审计平台 3 gx night", "审计管理系统 2 g office")),
    Agency("SZ-GZW", "市国资委", "SZ", ("国资在线监管系统 3 gx month_end", "产权交易系统 2 n office")),
    Agency(
        "SZ-SJG",
        "市市场监管局",
        "SZ",
        (
            "企业开办一窗通 3 ng citizen",
            "特种设备监管系统 2 g office",
            "食品安全追溯系统 2 n steady",
            "年报公示系统 2 n bursty",
        ),
    ),
    Agency(
        "SZ-YBJ",
        "市医疗保障局",
        "SZ",
        ("医保结算平台 3 gx steady", "医保基金智能监控 3 gx night", "参保登记系统 3 n citizen"),
    ),
    Agency("SZ-TJJ", "市统计局", "SZ", ("联网直报平台 2 n month_end", "人口普查数据平台 2 g office z")),
    Agency(
        "SZ-CGJ",
        "市城市管理局",
        "SZ",
        ("数字城管平台 2 ng steady", "垃圾分类监管系统 2 n office", "路灯监控系统 2 g night"),
    ),
    Agency(
        "SZ-ZSJ",
        "市政务服务和数据管理局",
        "SZ",
        (
            "一体化政务服务平台 3 ngx citizen",
            "政务数据共享平台 3 gx night",
            "统一身份认证平台 3 nx citizen",
            "12345热线系统 3 ng citizen",
            "城市运行管理中枢 3 gx steady",
            "电子证照系统 3 gx citizen",
        ),
    ),
    Agency(
        "SZ-GJJ",
        "市住房公积金管理中心",
        "SZ",
        ("公积金业务系统 3 gx month_end", "公积金网上服务大厅 3 n citizen"),
    ),
    Agency("QX-BH", "滨海区政府", "QX", ("滨海区门户网站 2 n citizen", "滨海区网格化管理系统 2 g office")),
    Agency(
        "QX-BH-JY",
        "滨海区教育局",
        "QX-BH",
        ("滨海区学位预警系统 2 n enrolment", "滨海区校园安防平台 2 g steady"),
    ),
    Agency("QX-BH-WJ", "滨海区卫生健康局", "QX-BH", ("滨海区家庭医生签约系统 2 n office",)),
    Agency("QX-LJ", "临江区政府", "QX", ("临江区门户网站 2 n citizen", "临江区综合治理平台 2 gx office")),
    Agency("QX-LJ-ZF", "临江区综合行政执法局", "QX-LJ", ("临江区执法办案系统 2 g office",)),
    Agency("QX-LJ-MZ", "临江区民政局", "QX-LJ", ("临江区居家养老系统 2 n office z",)),
    Agency("QX-YT", "云台区政府", "QX", ("云台区门户网站 2 n citizen", "云台区智慧社区平台 2 n steady")),
    Agency("QX-YT-JY", "云台区教育局", "QX-YT", ("云台区阳光招生平台 2 n enrolment",)),
    Agency("QX-NP", "南屏区政府", "QX", ("南屏区门户网站 2 n citizen", "南屏区协同办公系统 2 g office")),
    Agency("QX-NP-CZ", "南屏区财政局", "QX-NP", ("南屏区国库支付系统 2 g month_end",)),
    Agency("QX-DP", "东浦区政府", "QX", ("东浦区门户网站 2 n office z", "东浦区数据资源平台 2 gx night")),
    Agency("QX-GX", "高新区管委会", "QX", ("高新区企业服务平台 2 n citizen", "高新区园区能耗监测系统 2 g steady")),
)
