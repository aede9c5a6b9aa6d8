"""Small OneRoster folders and zips for the tests of reading, written without our own writer."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

V1P1 = {
    "manifest": "propertyName,value\r\nmanifest.version,1.0\r\noneroster.version,1.1\r\n"
    + "".join(
        f"file.{name},bulk\r\n"
        for name in ("orgs", "academicSessions", "courses", "classes", "users", "enrollments")
    )
    + "file.demographics,absent\r\n",
    "orgs": "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\r\n"
    "d,,,District,district,,\r\nnorth,,,North School,school,N1,d\r\n",
    "academicSessions": "sourcedId,status,dateLastModified,title,type,startDate,endDate,"
    "parentSourcedId,schoolYear\r\n"
    "y,,,Year,schoolYear,2026-08-15,2027-06-10,,2027\r\nt,,,Term,term,2026-08-15,2026-12-18,y,2027\r\n",
    "courses": "sourcedId,status,dateLastModified,schoolYearSourcedId,title,courseCode,grades,orgSourcedId,"
    'subjects,subjectCodes\r\n03100500,,,y,Algebra,0191,"09,10",d,Maths,02052\r\n',
    "classes": "sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType,location,"
    "schoolSourcedId,termSourcedIds,subjects,subjectCodes,periods\r\n"
    'c,,,Algebra A,09,03100500,A,scheduled,120,north,"y, t",Maths,02052,"1,2"\r\n',
    "users": "sourcedId,status,dateLastModified,enabledUser,orgSourcedIds,role,username,userIds,givenName,"
    "familyName,middleName,identifier,email,sms,phone,agentSourcedIds,grades,password\r\n"
    's1,,,true,north,student,s1,"{Local:015},{LDAP:Users,Students}",Ann,Null,,0042,s1@x.example,,,"g1,g2",09,pw\r\n'
    'g1,,,true,"north,d",guardian,g1,74727075,Gil,NA,,,g1@x.example,,555,,,pw\r\n'
    "t1,,,true,,teacher,t1,,Tom,Two,,,t1@x.example,,,,,pw\r\n",
    "enrollments": "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,"
    "primary,beginDate,endDate\r\ne1,,,c,north,s1,student,,2026-08-15,2027-06-10\r\n"
    "e2,tobedeleted,2026-09-01T00:00:00Z,c,north,t1,teacher,true,,\r\n",
}
V1P2 = V1P1 | {
    "manifest": V1P1["manifest"].replace("version,1.1", "version,1.2") + "file.roles,bulk\r\n",
    "users": "sourcedId,status,dateLastModified,enabledUser,username,userIds,givenName,familyName,middleName,"
    "identifier,email,sms,phone,agentSourcedIds,grades,password,userMasterIdentifier,resourceSourcedIds,"
    "preferredGivenName,preferredMiddleName,preferredFamilyName,primaryOrgSourcedId,pronouns\r\n"
    "s1,,,true,s1,,Ann,Null,,0042,s1@x.example,,,g1,09,pw,M1,,Annie,,Nil,north,she\r\n"
    "g1,,,true,g1,,Gil,NA,,,g1@x.example,,555,,,pw,,,,,,,\r\n",
    "roles": "sourcedId,status,dateLastModified,userSourcedId,roleType,role,beginDate,endDate,orgSourcedId,"
    "userProfileSourcedId\r\nr1,,,s1,primary,student,2026-08-15,,north,\r\nr2,,,g1,primary,guardian,,,north,\r\n"
    "r3,,,g1,primary,aide,,,d,\r\nr4,tobedeleted,,g1,secondary,teacher,,,north,\r\n",
}


def write_folder(folder: Path, files: Mapping[str, str | bytes | None]) -> Path:
    """A folder with these files; None leaves one out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if content is not None:
            data = content.encode() if isinstance(content, str) else content
            (folder / f"{name}.csv").write_bytes(data)
    return folder


def write_zip(path: Path, files: Mapping[str, str | bytes | None], prefix: str = "") -> Path:
    """The same as a zip, its names after `prefix`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            if content is not None:
                archive.writestr(f"{prefix}{name}.csv", content)
    return path
